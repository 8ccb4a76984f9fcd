-- A tariff may be tried for some days, for a price of its own; 0: for nothing, and the card is only verified.
alter table tariff
    add column trial_days integer check (trial_days between 1 and 366),
    add column trial_amount bigint check (trial_amount between 0 and 100000000),
    add column trial_currency char(3) check (trial_currency ~ '^[A-Z]{3}$'),
    add constraint tariff_trial_is_whole check (num_nulls(trial_days, trial_amount, trial_currency) in (0, 3));

-- A bill by which a trial is to begin: one that is paid, or the verification of a card.
alter table bill
    add column trial_days integer check (trial_days between 1 and 366),
    -- Why none began although the card is good. used: the card, or the account, has had its trial. not_kept: the gateway lets
    -- the card not be charged later. late: it was known when the customer had been told otherwise.
    add column trial_refused text check (trial_refused in ('used', 'not_kept', 'late')),
    add constraint bill_refuses_only_a_trial check (trial_refused is null or trial_days is not null),
    add constraint bill_begins_a_trial_at_the_beginning check (trial_days is null or kind in ('primary', 'verification'));

-- The period that was the account's trial; it is under way while it is the last paid one.
alter table account add column trial_period_no integer check (trial_period_no > 0);

-- Trials that have begun: one for each account, and one for each card.
create table trial (
    account_id uuid primary key references account on delete restrict,
    bill_id uuid not null unique references bill on delete restrict,
    began_at timestamptz not null,
    -- A keyed hash of what tells the card from others; null: the gateway did not say what card it was.
    card_hash bytea unique check (length(card_hash) = 32)
);

-- Secrets of the system's own. They are made once, and sealed as everything else that must not lie open.
create table secret (
    name text primary key,
    sealed text not null
);
