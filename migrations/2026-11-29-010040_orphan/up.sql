-- Operations of the gateway that were met in place of an attempt and are not it, or not as it was asked for: another's
-- under the same invoice number, of another amount, in test mode. They pay for nothing; a person decides about them.
create table orphan (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    -- The attempt in whose place it was met; null: it names none of ours.
    payment_id uuid references payment on delete restrict,
    transaction_id bigint not null,
    -- What differs, in words.
    what text not null,
    -- What the gateway says, as far as it says it.
    status text,
    invoice_id text,
    account_id text,
    amount bigint,
    currency text,
    test_mode boolean
);
-- However often it is met, a person is told once.
create unique index orphan_once on orphan (transaction_id, coalesce(payment_id, '00000000-0000-0000-0000-000000000000'));
create index orphan_by_payment on orphan (payment_id);

-- What was charged for a period and given back leaves the period unpaid: another bill may be opened for it.
drop index bill_one_per_period;
create unique index bill_one_per_period on bill (account_id, kind, period_no) where status not in ('Void', 'Refunded');
create index bill_by_account on bill (account_id) where status <> 'Void';
