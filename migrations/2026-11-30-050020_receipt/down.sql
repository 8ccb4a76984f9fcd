alter table tariff_vat drop column method, drop column object;
drop trigger payment_end_wipes_receipt on payment;
drop function receipt_is_wiped();
drop table receipt;
