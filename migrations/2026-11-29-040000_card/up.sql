-- The cards of an account: the one that is charged without the customer, and those before it. A card is written down when
-- the attempt begins that is to bring it, and ends when it is replaced or forgotten – whether it was charged by then or not.
-- So what an older attempt brings is told from what is kept by its row, and not by anybody's clock.
create table card (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    account_id uuid not null references account on delete restrict,
    -- Counts the cards of an account in the order in which their attempts began.
    generation integer not null check (generation > 0),
    -- Encrypted. Only of the card that is charged.
    token text unique,
    -- What may be shown of it: first_six, last_four, expires, scheme.
    mask jsonb,
    ended_at timestamptz,
    -- not_kept: it paid, and the gateway gave no token for it.
    ended text check (ended in ('replaced', 'forgotten', 'not_kept')),
    constraint card_generation unique (account_id, generation),
    constraint card_token_of_account unique (account_id, token),
    constraint card_says_how_it_ended check ((ended_at is null) = (ended is null)),
    constraint card_that_ended_has_no_token check (ended_at is null or token is null)
);
-- An account has one card that is charged.
create unique index card_kept on card (account_id) where token is not null;

-- The card that an attempt is to bring, or charges.
create table attempt_card (
    payment_id uuid primary key references payment on delete cascade,
    card_id uuid not null references card on delete restrict
);

-- What is kept now.
insert into card (created_at, account_id, generation, token, mask)
    select coalesce(card_since, updated_at), id, 1, payment_token, card from account where payment_token is not null;
insert into attempt_card (payment_id, card_id)
    select p.id, c.id
    from payment p join bill b on b.id = p.bill_id join account a on a.id = b.account_id join card c on c.account_id = a.id
    where p.instrument = 'token' and p.created_at >= coalesce(a.card_since, '-infinity');
-- Attempts that may bring a card yet.
with bringing as (
    select p.id as payment_id, gen_random_uuid() as card_id, p.created_at, b.account_id,
        row_number() over (partition by b.account_id order by p.created_at, p.id)
            + (a.payment_token is not null)::integer as generation
    from payment p join bill b on b.id = p.bill_id join account a on a.id = b.account_id
    where p.instrument = 'cryptogram' and p.is_success is not true and p.created_at >= coalesce(a.card_since, '-infinity')
), cards as (
    insert into card (id, created_at, account_id, generation)
        select card_id, created_at, account_id, generation from bringing
)
insert into attempt_card (payment_id, card_id) select payment_id, card_id from bringing;

alter table account drop column card_since;

-- `account.payment_token` is the token of the kept card, in both directions.
alter table account add constraint account_id_payment_token unique (id, payment_token);
alter table account add constraint account_token_is_its_cards
    foreign key (id, payment_token) references card (account_id, token) deferrable initially deferred;
alter table card add constraint card_token_is_its_accounts
    foreign key (account_id, token) references account (id, payment_token) deferrable initially deferred;

-- A token that is taken away by hand takes its card along.
create function account_token_is_wiped() returns trigger
    language plpgsql as $$
begin
    update card set token = null, ended_at = now(), ended = 'forgotten'
        where account_id = new.id and token is not null;
    return null;
end
$$;
create trigger account_token_is_wiped after update of payment_token on account
    for each row when (old.payment_token is not null and new.payment_token is null)
    execute function account_token_is_wiped();
