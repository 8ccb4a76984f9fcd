-- Money that goes back to a customer, by our order or by another's. A row per movement, written ahead like a payment.
create table refund (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    payment_id uuid not null references payment on delete restrict,
    amount bigint not null check (amount between 1 and 100000000),
    currency char(3) not null check (currency ~ '^[A-Z]{3}$'),
    state text not null check (state in ('requested', 'sending', 'unknown', 'succeeded', 'failed')),
    -- ours: asked for here by a person. automatic: money that nobody owed. external: by hand in the gateway's cabinet.
    source text not null check (source in ('ours', 'automatic', 'external')),
    -- void: the money was only held, and is let go.
    way text not null default 'refund' check (way in ('refund', 'void')),
    -- What becomes of the access that the payment bought.
    effect text not null check (effect in ('keep', 'shorten', 'end')),
    reason text not null check (length(reason) between 1 and 500),
    requested_by text check (length(requested_by) between 1 and 128),
    role text check (length(role) between 1 and 64),
    -- Above the limit of who asked: it waits for a second person.
    needs_approval boolean not null default false,
    approved_by text check (length(approved_by) between 1 and 128),
    approved_at timestamptz,
    client text,
    idempotency_key text check (length(idempotency_key) between 1 and 255),
    digest bytea,
    -- `X-Request-ID`: the same for every sending.
    request_id text not null unique,
    -- The gateway's number of the refund; not that of the payment.
    gateway_tx_id bigint unique,
    sends integer not null default 0 check (sends >= 0),
    first_sent_at timestamptz,
    last_sent_at timestamptz,
    look_again_at timestamptz,
    looks integer not null default 0 check (looks >= 0),
    absent_at timestamptz,
    woken_at timestamptz not null default now(),
    finished_at timestamptz,
    info text,
    constraint refund_ends_with_a_time check ((finished_at is null) = (state in ('requested', 'sending', 'unknown'))),
    constraint refund_sent_before_its_answer check (
        state not in ('sending', 'unknown') or (sends > 0 and first_sent_at is not null and last_sent_at is not null)
    ),
    constraint refund_has_somebody_who_asked check ((source = 'ours') = (requested_by is not null and role is not null)),
    constraint refund_is_approved_by_another check (approved_by <> requested_by),
    constraint refund_approval_is_whole check ((approved_by is null) = (approved_at is null)),
    constraint refund_is_not_sent_unapproved check (
        not needs_approval or approved_by is not null or state in ('requested', 'failed')
    ),
    constraint refund_key_has_its_content check (num_nulls(client, idempotency_key, digest) in (0, 3))
);
-- The heart of it: one at a time.
create unique index refund_one_unfinished_per_payment on refund (payment_id)
    where state in ('requested', 'sending', 'unknown');
create unique index refund_idempotency_key on refund (client, idempotency_key);
create index refund_by_payment on refund (payment_id);
-- What the timetable looks for.
create index refund_stranded on refund (woken_at) where state = 'requested';
create index refund_unanswered on refund (last_sent_at) where state = 'sending';
create index refund_in_doubt on refund (look_again_at) where state = 'unknown';

-- How much each role may give back of one payment. Who has no row may not.
create table refund_limit (
    role text primary key check (length(role) between 1 and 64),
    -- Up to here without a second person, in minor units.
    alone bigint not null check (alone >= 0),
    -- Up to here as the second person.
    approves bigint not null check (approves >= 0)
);
insert into refund_limit (role, alone, approves) values ('accountant', 500000, 0), ('chief_accountant', 3000000, 100000000);

-- A payment that the customer's bank took back. Bars refunds.
create table chargeback (
    -- The gateway's `ChargeBackId`.
    id text primary key check (length(id) between 1 and 128),
    created_at timestamptz not null default now(),
    payment_id uuid not null references payment on delete restrict,
    transaction_id bigint not null,
    amount bigint not null,
    currency text not null check (length(currency) <= 8),
    kind text not null check (length(kind) <= 64),
    operation text not null check (length(operation) <= 64),
    -- By the gateway.
    at timestamptz not null
);
create index chargeback_by_payment on chargeback (payment_id);

-- What nobody owed and is not back yet goes back now. (What was given back before it was known here says so.)
insert into refund (payment_id, amount, currency, state, source, effect, reason, request_id)
    select id, amount, currency, 'requested', 'automatic', 'keep', 'nobody owed this money', 'refund:duplicate:' || id
    from payment
    where state = 'succeeded_duplicate' and info is distinct from 'taken, and given back';
insert into refund (payment_id, amount, currency, state, source, effect, reason, request_id, finished_at)
    select p.id, p.amount, p.currency, 'succeeded', 'external', 'keep', 'given back before it was known here',
        'external:before:' || p.id, coalesce(p.finished_at, p.updated_at)
    from payment p join bill b on b.id = p.bill_id
    where (p.state = 'succeeded_duplicate' and p.info = 'taken, and given back')
        or (p.state = 'succeeded' and b.status = 'Refunded');
