-- Receipts of 54-FZ, of whatever moves money: one goes along with a charge (`id` is the payment's), one with a refund (`id` is
-- the refund's), and a person, or a receipt that came too late, has the cash register asked for others.
drop index receipt_sealed;
alter table receipt add column id uuid;
update receipt set id = payment_id;
alter table receipt alter column id set not null;
alter table receipt drop constraint receipt_pkey;
alter table receipt add primary key (id);
alter table receipt
    add column refund_id uuid references refund on delete restrict,
    add column kind text not null default 'income' check (kind in ('income', 'income_return')),
    -- unasked: money went back by another's hand, so we asked for none. told: the register made one that no row asked for.
    add column way text not null default 'charge' check (way in ('charge', 'refund', 'order', 'unasked', 'told')),
    add column amount bigint check (amount > 0),
    -- Since when the cash register has had reason to make it.
    add column due_at timestamptz,
    -- The register's own id, and when its notification came.
    add column document text unique check (length(document) between 1 and 100),
    add column issued_at timestamptz,
    -- A person was told that it is missing.
    add column told_at timestamptz,
    -- The order (a row of this table) that was made because this one is missing.
    add column covered_by uuid,
    -- Of an order to the register: written ahead as a payment is.
    add column state text check (state in ('requested', 'sending', 'unknown', 'queued', 'failed')),
    add column request_id text unique,
    add column requested_by text check (length(requested_by) between 1 and 128),
    add column sends integer not null default 0 check (sends >= 0),
    add column first_sent_at timestamptz,
    add column last_sent_at timestamptz,
    add column again_at timestamptz,
    add column woken_at timestamptz,
    add column info text,
    add constraint receipt_order_is_whole check (
        (way = 'order') = (state is not null) and num_nulls(state, request_id, requested_by, again_at, woken_at) in (0, 5)
    ),
    add constraint receipt_sent_before_its_answer check (
        state is null or state not in ('sending', 'unknown')
        or (sends > 0 and first_sent_at is not null and last_sent_at is not null)
    ),
    add constraint receipt_issued_is_known check (issued_at is null or document is not null),
    add constraint receipt_of_refund_goes_back check (refund_id is null or kind = 'income_return');
update receipt set amount = (select amount from payment where payment.id = receipt.payment_id);
alter table receipt alter column amount set not null;

-- What `billing keys rotate` seals anew.
create index receipt_sealed on receipt (id) where sealed is not null;
create index receipt_of_payment on receipt (payment_id);
create index receipt_of_refund on receipt (refund_id) where refund_id is not null;
-- What is missing: nobody has made it, and nobody was asked for another in its place.
create index receipt_awaited on receipt (due_at) where due_at is not null and issued_at is null and covered_by is null;
-- What is to be told to a person.
create index receipt_untold on receipt (due_at)
    where due_at is not null and issued_at is null and covered_by is null and told_at is null;
-- What the timetable looks for.
create index receipt_order_due on receipt (again_at) where state in ('requested', 'sending', 'unknown');

-- Along with the money: known as due in the transaction that takes it.
drop trigger payment_end_wipes_receipt on payment;
create or replace function receipt_is_wiped() returns trigger
    language plpgsql as $$
begin
    update receipt set sealed = null, due_at = case when new.is_success then new.updated_at end where id = new.id;
    return null;
end
$$;
create trigger payment_end_wipes_receipt after update of is_success on payment
    for each row when (new.is_success is not null and old.is_success is distinct from new.is_success)
    execute function receipt_is_wiped();

create function refund_end_settles_receipt() returns trigger
    language plpgsql as $$
begin
    if new.state = 'succeeded' and new.way = 'refund' then
        update receipt set sealed = null, due_at = new.finished_at where id = new.id;
        if not found then
            -- Money that another's hand has given back, of a payment with a receipt: somebody owes one for it too.
            insert into receipt (id, payment_id, refund_id, created_at, kind, way, amount, due_at)
            select new.id, new.payment_id, new.id, new.updated_at, 'income_return', 'unasked', new.amount, new.finished_at
            from receipt where id = new.payment_id;
        end if;
    else
        update receipt set sealed = null, due_at = null where id = new.id and issued_at is null;
    end if;
    return null;
end
$$;
create trigger refund_end_settles_receipt after insert or update of state on refund
    for each row when (new.state in ('succeeded', 'failed')) execute function refund_end_settles_receipt();
