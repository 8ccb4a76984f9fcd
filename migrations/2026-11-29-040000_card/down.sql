drop trigger account_token_is_wiped on account;
drop function account_token_is_wiped();
alter table card drop constraint card_token_is_its_accounts;
alter table account drop constraint account_token_is_its_cards;
alter table account drop constraint account_id_payment_token;
alter table account add column card_since timestamptz;
update account set card_since = coalesce(
    (select created_at from card where account_id = account.id and token is not null),
    (select max(ended_at) from card where account_id = account.id));
drop table attempt_card;
drop table card;
