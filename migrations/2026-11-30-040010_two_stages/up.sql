-- Whether a charge of this tariff holds the money first and takes it once its bill still wants it; otherwise it takes it at
-- once, unless the terminal itself works in two stages.
alter table tariff add column two_stages boolean not null default false;
-- As it was when the bill was opened: every sending of its attempts is the same request.
alter table bill add column two_stages boolean not null default false;
