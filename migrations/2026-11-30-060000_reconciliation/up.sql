-- What the gateway has, as its list tells it (`/v2/payments/list`), and how it compares with our rows.

-- One row per operation of the gateway, the latest that its list said of it. Rows only come and change: the gateway forgets
-- nothing. Ids, money and times; no token, no card, no personal trace.
create table gateway_transaction (
    transaction_id bigint primary key,
    -- When the gateway made it; it decides which day it belongs to.
    created_at timestamptz not null,
    operation text not null check (operation in ('payment', 'refund', 'payout')),
    -- By the gateway's name; null: it said nothing that we know.
    status text check (length(status) <= 255),
    -- Minor units; null: it is not readable.
    amount bigint,
    currency text check (length(currency) <= 255),
    invoice_id text check (length(invoice_id) <= 255),
    -- The same, if it is a number as ours are.
    invoice_no bigint,
    account_id text check (length(account_id) <= 255),
    -- What `JsonData` names.
    payment_id uuid,
    bill_id uuid,
    -- Of a refund: the payment.
    original_id bigint,
    refunded boolean,
    test_mode boolean,
    -- Whether it is of the kind of terminal that we charge on: on a live one what is in test mode is no money.
    on_our_terminal boolean not null,
    listed_at timestamptz not null
);

create index gateway_transaction_by_time on gateway_transaction (created_at, transaction_id);
create index gateway_transaction_by_invoice on gateway_transaction (invoice_no) where invoice_no is not null;
create index gateway_transaction_refunds on gateway_transaction (original_id) where original_id is not null;

-- Chargebacks, as `/chargebacks/list` tells them.
create table gateway_chargeback (
    chargeback_id text primary key check (length(chargeback_id) between 1 and 255),
    transaction_id bigint not null,
    amount bigint,
    currency text check (length(currency) <= 255),
    kind text check (length(kind) <= 255),
    operation text check (length(operation) <= 255),
    at timestamptz not null,
    listed_at timestamptz not null
);

create index gateway_chargeback_by_transaction on gateway_chargeback (transaction_id);
create index gateway_chargeback_by_time on gateway_chargeback (at, chargeback_id);

-- One comparison of a range of time, from `range_from` up to, and without, `range_to`.
create table reconciliation (
    id uuid primary key,
    created_at timestamptz not null,
    kind text not null check (kind in ('daily', 'asked', 'restore')),
    asked_by text check (length(asked_by) between 1 and 255),
    -- Of a daily one: the day on which it was made. Each range once a day.
    made_on date,
    range_from timestamptz not null,
    range_to timestamptz not null,
    -- listing → chargebacks → comparing → comparing_ours → settling → ended
    phase text not null check (phase in ('listing', 'chargebacks', 'comparing', 'comparing_ours', 'settling', 'ended')),
    started_at timestamptz,
    ended_at timestamptz,
    -- Which reading of the list, and which page of it is next; whether a page of this reading taught something new.
    reading integer not null default 1 check (reading > 0),
    next_page integer not null default 1 check (next_page > 0),
    taught boolean not null default false,
    -- The list came to rest: two readings one after the other were the same.
    is_stable boolean,
    -- Where the comparison stands.
    cursor_at timestamptz,
    cursor_id bigint,
    cursor_payment uuid,
    cursor_difference uuid,
    -- Whoever works on it has it until then.
    leased_until timestamptz not null,
    -- What went wrong last, for operators; null: nothing since the last step that went well.
    trouble text check (length(trouble) <= 500),
    fruitless integer not null default 0,
    -- Counts.
    pages integer not null default 0,
    transactions bigint not null default 0,
    payments bigint not null default 0,
    found bigint not null default 0,
    settled bigint not null default 0,
    constraint reconciliation_range check (range_from < range_to),
    constraint reconciliation_ends check ((ended_at is not null) = (phase = 'ended')),
    constraint reconciliation_daily_has_its_day check ((made_on is not null) = (kind = 'daily'))
);

create unique index reconciliation_once_a_day on reconciliation (range_from, range_to, made_on) where made_on is not null;
create index reconciliation_unended on reconciliation (leased_until) where ended_at is null;
create index reconciliation_by_range on reconciliation (range_from, ended_at) where ended_at is not null;

-- What does not agree. One row for one thing, however often it is found.
create table difference (
    id uuid primary key,
    kind text not null check (kind in ('missing_here', 'missing_there', 'amount', 'currency', 'status', 'duplicate',
                                       'refund_missing_here', 'refund_missing_there', 'refund_amount', 'chargeback')),
    -- What it is about: `transaction:7`, `payment:<id>`, `refund:<id>`, `chargeback:<id>`.
    subject text not null check (length(subject) <= 300),
    created_at timestamptz not null,
    found_by uuid not null references reconciliation on delete restrict,
    seen_at timestamptz not null,
    seen_by uuid not null references reconciliation on delete restrict,
    -- When the money moved.
    at timestamptz not null,
    transaction_id bigint,
    payment_id uuid references payment on delete restrict,
    account_id text check (length(account_id) <= 255),
    invoice_id text check (length(invoice_id) <= 255),
    our_amount bigint,
    their_amount bigint,
    our_currency text,
    their_currency text,
    our_state text,
    their_status text,
    state text not null check (state in ('open', 'explained', 'resolved')),
    decided_at timestamptz,
    decided_by text check (length(decided_by) between 1 and 255),
    reason text check (length(reason) between 1 and 1000),
    constraint difference_once unique (kind, subject),
    constraint difference_is_decided_with_a_reason check (
        (state = 'open') = (decided_at is null) and num_nulls(decided_at, decided_by, reason) in (0, 3)
    )
);

create index difference_of_run on difference (seen_by, at, id);
create index difference_open on difference (id) where state = 'open';
create index difference_of_payment on difference (payment_id) where payment_id is not null;
create index difference_by_time on difference (at, id);

create index refund_sent on refund (first_sent_at, id) where gateway_tx_id is not null;
-- Which payments were sent in a range of time.
create index payment_sent on payment (first_sent_at, id) where transaction_id is not null;
