-- Receipts of 54-FZ. What goes to the gateway with an attempt (`CustomerReceipt`) holds the address of a person: it is sealed,
-- so that the request can be repeated as it was, and wiped when the attempt ends.
create table receipt (
    payment_id uuid primary key references payment on delete restrict,
    created_at timestamptz not null,
    sealed text
);

create function receipt_is_wiped() returns trigger
    language plpgsql as $$
begin
    update receipt set sealed = null where payment_id = new.id and sealed is not null;
    return null;
end
$$;
create trigger payment_end_wipes_receipt after update of is_success on payment
    for each row when (old.is_success is null and new.is_success is not null) execute function receipt_is_wiped();

-- How a receipt names what is sold: the sign of the way of payment (4: paid in full) and of the thing sold (4: a service).
alter table tariff_vat
    add column method integer not null default 4 check (method between 0 and 7),
    add column object integer not null default 4 check (object between 0 and 33);
