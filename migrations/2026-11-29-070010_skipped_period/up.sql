-- Periods that passed unpaid, as while nothing could be charged, and are not charged for.
create table skipped_period (
    account_id uuid not null references account on delete restrict,
    begins_at timestamptz not null,
    ends_at timestamptz not null check (ends_at > begins_at),
    period_no integer not null check (period_no > 0),
    -- The bill that was opened instead, for the first period behind them of which enough lay ahead.
    bill_id uuid not null references bill on delete restrict,
    noticed_at timestamptz not null,
    primary key (account_id, begins_at)
);
