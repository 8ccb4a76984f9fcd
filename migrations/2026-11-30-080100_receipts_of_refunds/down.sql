drop trigger refund_end_settles_receipt on refund;
drop function refund_end_settles_receipt();
drop trigger payment_end_wipes_receipt on payment;
delete from receipt where id <> payment_id;
alter table receipt drop constraint receipt_order_is_whole, drop constraint receipt_sent_before_its_answer,
    drop constraint receipt_issued_is_known, drop constraint receipt_of_refund_goes_back;
drop index receipt_sealed, receipt_of_payment, receipt_of_refund, receipt_awaited, receipt_untold, receipt_order_due;
alter table receipt
    drop column refund_id, drop column kind, drop column way, drop column amount, drop column due_at, drop column document,
    drop column issued_at, drop column told_at, drop column covered_by, drop column state, drop column request_id,
    drop column requested_by, drop column sends, drop column first_sent_at, drop column last_sent_at,
    drop column again_at, drop column woken_at, drop column info;
alter table receipt drop constraint receipt_pkey;
alter table receipt drop column id;
alter table receipt add primary key (payment_id);
create index receipt_sealed on receipt (payment_id) where sealed is not null;
create or replace function receipt_is_wiped() returns trigger
    language plpgsql as $$
begin
    update receipt set sealed = null where payment_id = new.id and sealed is not null;
    return null;
end
$$;
create trigger payment_end_wipes_receipt after update of is_success on payment
    for each row when (old.is_success is null and new.is_success is not null) execute function receipt_is_wiped();
