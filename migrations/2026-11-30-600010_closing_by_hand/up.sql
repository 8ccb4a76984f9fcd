-- Payments in doubt that two people close by what the gateway's cabinet shows: one asks, another agrees.
create table payment_closing (
    -- Of the form: the same form asks once.
    id uuid primary key,
    payment_id uuid not null references payment on delete restrict,
    asked_at timestamptz not null,
    asked_by text not null check (length(asked_by) between 1 and 60),
    ending text not null check (ending in ('taken', 'declined', 'not_taken')),
    transaction_id bigint check (transaction_id > 0),
    happened_on date,
    amount bigint check (amount > 0),
    reason_code integer check (reason_code > 0),
    said text not null check (length(said) between 10 and 1000),
    state text not null default 'waiting' check (state in ('waiting', 'done', 'withdrawn', 'expired')),
    ended_at timestamptz,
    ended_by text check (length(ended_by) between 1 and 60),
    constraint closing_has_its_evidence check (
        case ending
            when 'not_taken' then num_nonnulls(transaction_id, happened_on, amount, reason_code) = 0
            when 'taken' then num_nulls(transaction_id, happened_on, amount) = 0 and reason_code is null
            else num_nulls(transaction_id, happened_on, reason_code) = 0 and amount is null
        end
    ),
    constraint closing_is_agreed_to_by_another check (state <> 'done' or (ended_by is not null and ended_by <> asked_by)),
    constraint closing_end_has_its_time check ((state = 'waiting') = (ended_at is null))
);
create unique index closing_waits on payment_closing (payment_id) where state = 'waiting';
create index closing_of_payment on payment_closing (payment_id, asked_at);
create index closing_waits_since on payment_closing (asked_at) where state = 'waiting';
