-- What the gateway has told by itself, written down before anything is made of it. The same body told again is the same row.
create table notification (
    -- pay, fail, confirm, refund, recurrent, cancel or receipt; a check is answered and writes nothing.
    kind text not null check (kind in ('pay', 'fail', 'confirm', 'refund', 'recurrent', 'cancel', 'receipt')),
    -- The gateway's own id of what it tells of: a transaction's number, or the id of a subscription or receipt.
    gateway_id text not null check (length(gateway_id) between 1 and 100),
    body_sha256 bytea not null check (length(body_sha256) = 32),
    received_at timestamptz not null,
    -- What it says, without secrets and personal traces.
    told jsonb not null,
    -- The number of the transaction, where it is about one; a refund's own.
    transaction_id bigint,
    -- Sealed, and only until the notification has its effect.
    token text,
    -- The attempt it turned out to be of.
    payment_id uuid references payment on delete restrict,
    -- What came of it; null: nothing yet.
    effect text check (effect in ('applied', 'nothing_new', 'look', 'orphan', 'stored')),
    effected_at timestamptz,
    -- How often its effect failed, and when it is tried again.
    tries integer not null default 0,
    try_at timestamptz not null,
    primary key (kind, gateway_id, body_sha256),
    check ((effect is null) = (effected_at is null)),
    check (effect is null or token is null)
);
create index notification_pending on notification (try_at) where effect is null;
create index notification_by_payment on notification (payment_id, received_at) where payment_id is not null;
create index notification_by_transaction on notification (transaction_id, kind) where transaction_id is not null;
-- Receipts are kept as long as the payment they are for.
create index notification_by_age on notification (received_at) where effect is not null and kind <> 'receipt';
