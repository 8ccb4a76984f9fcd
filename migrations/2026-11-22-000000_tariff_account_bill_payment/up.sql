-- The four tables of the original with their columns, and what a second charge of the same bill needs to be impossible.
-- Amounts are minor units (kopecks); times are instants; nothing financial is ever deleted (RESTRICT).

-- Whole months or whole days, from one day to ten years: the arithmetic of periods knows nothing else.
create function is_billing_period(period interval) returns boolean
    language sql immutable strict
    return extract(microseconds from period) = 0
        and extract(minute from period) = 0
        and extract(hour from period) = 0
        and (extract(day from period) = 0) <> (extract(year from period) = 0 and extract(month from period) = 0)
        and period between interval '1 day' and interval '120 months';

create table tariff (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    name text not null unique check (length(name) between 1 and 128),
    description text not null default '' check (length(description) <= 1000),
    period interval not null check (is_billing_period(period)),
    amount bigint not null check (amount between 1 and 100000000),
    currency char(3) not null default 'RUB' check (currency ~ '^[A-Z]{3}$'),
    -- No longer sold when false; who has it keeps it.
    is_active boolean not null default true
);

create table account (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    status text not null default 'Inactive' check (status in ('Inactive', 'Active', 'Overdue', 'Canceled')),
    -- Encrypted. Unique as in the original, which here only says that no row was copied: each encryption differs.
    payment_token text unique,
    expiration_dt date,
    tariff_id uuid references tariff on delete restrict,
    time_zone text not null default 'Europe/Moscow',
    -- The term: where period `period_no` ends is anchor_at + (period_no - anchor_period_no) * paid_period.
    anchor_at timestamptz,
    anchor_period_no integer,
    paid_period interval check (is_billing_period(paid_period)),
    period_no integer not null default 0 check (period_no >= 0),
    paid_until timestamptz,
    access_until timestamptz,
    next_charge_at timestamptz,
    cancel_at_period_end boolean not null default false,
    declines integer not null default 0 check (declines >= 0),
    first_declined_at timestamptz,
    -- What may be shown of the card: first_six, last_four, expires, scheme.
    card jsonb,
    constraint account_term_is_whole check (
        num_nulls(anchor_at, anchor_period_no, paid_period, paid_until, access_until, expiration_dt) in (0, 6)
        and (status = 'Inactive') = (paid_until is null)
    ),
    constraint account_is_charged_only_while_running check (
        next_charge_at is null or status in ('Active', 'Overdue')
    )
);
create index account_due on account (next_charge_at) where next_charge_at is not null;
create index account_access on account (access_until) where status in ('Active', 'Overdue');

-- Support may move `expiration_dt` by hand, as it always could. The paid time moves with it, and later periods count from
-- there. (The program itself always writes both.)
create function account_expiration_moves() returns trigger
    language plpgsql as $$
begin
    if new.expiration_dt <> old.expiration_dt and new.paid_until = old.paid_until then
        new.paid_until := (new.expiration_dt + (old.paid_until at time zone new.time_zone)::time)
            at time zone new.time_zone;
        new.access_until := new.paid_until + (old.access_until - old.paid_until);
        new.anchor_at := new.paid_until;
        new.anchor_period_no := new.period_no;
        if new.status = 'Active' and new.next_charge_at is not null then
            new.next_charge_at := new.expiration_dt::timestamp at time zone new.time_zone;
        end if;
    end if;
    return new;
end
$$;
create trigger account_expiration_moves before update of expiration_dt on account
    for each row execute function account_expiration_moves();

create table bill (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    status text not null check (
        status in ('Not paid', 'In work', 'Paid', 'Void', 'Uncollectible', 'Partially refunded', 'Refunded')
    ),
    amount bigint not null check (amount between 1 and 100000000),
    account_id uuid not null references account on delete restrict,
    paid_period interval not null check (is_billing_period(paid_period)),
    card_cryptogram_packet text,
    ip_address text check (length(ip_address) <= 45),
    pa_res text,
    payment_type text not null check (payment_type in ('CRYPTOGRAM', 'TOKEN', 'POST3DS')),
    currency char(3) not null check (currency ~ '^[A-Z]{3}$'),
    tariff_id uuid not null references tariff on delete restrict,
    -- What was sold, as it was called then.
    description text not null,
    kind text not null check (kind in ('primary', 'renewal')),
    period_no integer not null check (period_no > 0),
    paid_at timestamptz,
    constraint bill_keeps_secrets_only_in_work check (
        status = 'In work' or (card_cryptogram_packet is null and pa_res is null)
    ),
    constraint bill_knows_when_it_was_paid check (
        (paid_at is not null) = (status in ('Paid', 'Partially refunded', 'Refunded'))
    )
);
-- Two timetables, or one that fires twice, open one bill per period.
create unique index bill_one_per_period on bill (account_id, kind, period_no) where status <> 'Void';
-- An account owes one thing at a time.
create unique index bill_one_open_per_account on bill (account_id) where status in ('Not paid', 'In work');

-- Numbers by which the gateway finds an attempt. They start at the time of this migration, so that a database made
-- anew beside an old terminal never finds its predecessor's payments.
do $$
begin
    execute format('create sequence payment_invoice_no_seq as bigint start with %s',
        extract(epoch from now())::bigint * 1000000);
end
$$;

create table payment (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    is_success boolean,
    bill_id uuid not null references bill on delete restrict,
    info text,
    transaction_id bigint,
    state text not null check (
        state in ('created', 'sending', 'awaiting_3ds', 'posting_3ds', 'unknown', 'authorized', 'succeeded',
                  'succeeded_duplicate', 'declined', 'rejected', 'abandoned', 'not_executed', 'voided')
    ),
    instrument text not null check (instrument in ('cryptogram', 'token')),
    amount bigint not null check (amount between 1 and 100000000),
    currency char(3) not null check (currency ~ '^[A-Z]{3}$'),
    request_id text not null,
    invoice_no bigint not null default nextval('payment_invoice_no_seq'),
    idempotency_key text check (length(idempotency_key) between 1 and 255),
    request_digest bytea,
    sends integer not null default 0 check (sends >= 0),
    first_sent_at timestamptz,
    last_sent_at timestamptz,
    posts integer not null default 0 check (posts >= 0),
    acs_url text,
    pa_req text,
    three_ds_expires_at timestamptz,
    reason_code integer,
    decline_group text check (
        decline_group in ('hard', 'soft', 'technical', 'conditional', 'customer_action', 'configuration')
    ),
    reason text,
    cardholder_message text,
    retry_after timestamptz,
    -- When to turn to it again: to send what the gateway put off, to ask about what is in doubt.
    look_again_at timestamptz,
    absent_at timestamptz,
    -- When a worker was last told of it.
    woken_at timestamptz not null,
    finished_at timestamptz,
    -- What may be shown of the card: first_six, last_four, expires, scheme.
    card jsonb,
    constraint payment_verdict_follows_state check (
        is_success is not distinct from case
            when state in ('succeeded', 'succeeded_duplicate') then true
            when state in ('declined', 'rejected', 'abandoned', 'not_executed', 'voided') then false
        end
        and (finished_at is null) = (is_success is null)
    ),
    constraint payment_success_has_a_transaction check (is_success is not true or transaction_id is not null),
    constraint payment_sent_before_its_answer check (
        state <> 'sending' or (sends > 0 and first_sent_at is not null and last_sent_at is not null)
    ),
    constraint payment_three_ds_is_whole check (
        num_nulls(acs_url, pa_req, three_ds_expires_at) in (0, 3) and (acs_url is null or finished_at is null)
    ),
    constraint payment_key_has_its_content check ((idempotency_key is null) = (request_digest is null))
);
alter sequence payment_invoice_no_seq owned by payment.invoice_no;

-- The heart of it: a bill has at most one attempt that is live or has taken its money.
create unique index payment_one_live_or_succeeded_per_bill on payment (bill_id) where state in
    ('created', 'sending', 'awaiting_3ds', 'posting_3ds', 'unknown', 'authorized', 'succeeded');
create unique index payment_request_id on payment (request_id);
create unique index payment_invoice_no on payment (invoice_no);
create unique index payment_transaction_id on payment (transaction_id);
create unique index payment_idempotency_key on payment (idempotency_key);
create index payment_by_bill on payment (bill_id);
-- What the timetable looks for; each index holds only the few rows it is about.
create index payment_stranded on payment (woken_at)
    where state = 'created' or (state = 'posting_3ds' and posts = 0);
create index payment_unanswered on payment (last_sent_at) where state in ('sending', 'posting_3ds');
create index payment_in_doubt on payment (look_again_at) where state = 'unknown';
create index payment_on_the_bank_page on payment (three_ds_expires_at) where state = 'awaiting_3ds';
