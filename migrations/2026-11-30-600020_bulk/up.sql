-- One action on all rows of a filtered list. The rows are frozen when they are looked at; a second person lets it begin.
create table bulk (
    -- Of the form: the same form makes one.
    id uuid primary key,
    created_at timestamptz not null,
    kind text not null check (kind in ('extend', 'refund')),
    days integer check (days between 1 and 31),
    effect text check (effect in ('keep', 'shorten', 'end')),
    -- As they stand in the address of the list.
    conditions text not null check (length(conditions) <= 1000),
    staff_id uuid not null references staff,
    made_by text not null check (length(made_by) between 1 and 60),
    made_role text not null,
    address text not null,
    reason text check (length(reason) between 3 and 500),
    items integer not null check (items > 0),
    left_out integer not null check (left_out >= 0),
    -- Minor units.
    total bigint not null check (total >= 0),
    currency char(3) check (currency ~ '^[A-Z]{3}$'),
    state text not null check (state in ('draft', 'waiting', 'running', 'paused', 'stopped', 'done', 'withdrawn')),
    asked_at timestamptz,
    approved_by text,
    approved_role text,
    approved_at timestamptz,
    -- Until when a worker is at it.
    lease_until timestamptz,
    ended_at timestamptz,
    constraint bulk_is_of_its_kind check (
        (kind = 'extend') = (days is not null) and (kind = 'refund') = (effect is not null)
        and (kind = 'refund') = (currency is not null)
    ),
    constraint bulk_is_asked_for check (state in ('draft', 'withdrawn') or (asked_at is not null and reason is not null)),
    constraint bulk_is_agreed_to_by_another check (
        state not in ('running', 'paused', 'stopped', 'done')
        or (approved_by is not null and approved_role is not null and approved_at is not null and approved_by <> made_by)
    )
);
create index bulk_by_time on bulk (created_at, id) where state <> 'draft';
create index bulk_draft on bulk (created_at) where state = 'draft';
-- What workers go on with.
create index bulk_running on bulk (created_at) where state = 'running';
create index bulk_waiting on bulk (asked_at) where state = 'waiting';

create table bulk_item (
    bulk_id uuid not null references bulk on delete restrict,
    no integer not null,
    account_id uuid not null references account on delete restrict,
    payment_id uuid references payment on delete restrict,
    amount bigint check (amount > 0),
    state text not null default 'waiting' check (state in ('waiting', 'done', 'refused', 'left')),
    why text check (why in (
        'nothing_paid', 'closed', 'not_taken', 'too_old', 'unfinished', 'less_left', 'charged_back', 'over_limit', 'defect'
    )),
    refund_id uuid references refund on delete restrict,
    ended_at timestamptz,
    primary key (bulk_id, no),
    unique (bulk_id, account_id, payment_id),
    constraint bulk_item_refused_has_its_reason check ((state = 'refused') = (why is not null)),
    constraint bulk_item_end_has_its_time check ((state = 'waiting') = (ended_at is null)),
    constraint bulk_item_money_is_of_a_payment check ((payment_id is null) = (amount is null))
);
create index bulk_item_waiting on bulk_item (bulk_id, no) where state = 'waiting';
create index bulk_item_of_account on bulk_item (account_id);
create index bulk_item_of_payment on bulk_item (payment_id) where payment_id is not null;
