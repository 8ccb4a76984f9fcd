-- The database was restored from a backup, or a failover has lost commits: what the gateway did in the lost time is not in our
-- rows. Nothing is charged or given back until a reconciliation has put it there.
create table restore (
    id uuid primary key,
    -- When it was told,
    at timestamptz not null,
    -- by whom,
    told_by text not null check (length(told_by) between 1 and 255),
    -- and the moment of which the restored rows are.
    since timestamptz not null,
    -- Resume tokens of other epochs are void.
    epoch uuid not null,
    -- The first invoice number after it: those in between may be at the gateway.
    invoice_from bigint not null,
    reconciliation_id uuid not null references reconciliation on delete restrict,
    -- When charging went on.
    lifted_at timestamptz,
    constraint restore_is_in_order check (since <= at)
);

create unique index restore_in_force on restore ((lifted_at is null)) where lifted_at is null;
create index restore_of_reconciliation on restore (reconciliation_id);

-- Money at the gateway that no row is of: whoever it is from is not charged by itself until a person has decided.
create index difference_unexplained on difference (lower(account_id)) where kind = 'missing_here' and state = 'open';
