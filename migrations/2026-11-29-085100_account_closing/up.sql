-- A person has asked to be forgotten. What is financial stays; addresses and what was shown of cards are wiped later.
alter table account
    add column closed_at timestamptz,
    add column traces_wiped_at timestamptz,
    add constraint account_is_not_charged_when_closed check (
        closed_at is null or (next_charge_at is null and payment_token is null)
    ),
    add constraint account_is_forgotten_when_closed check (traces_wiped_at is null or closed_at is not null);
create index account_to_be_forgotten on account (closed_at) where closed_at is not null and traces_wiped_at is null;
