drop index event_of_source;
drop index event_of_kind;
drop index refund_by_amount;
drop index account_paid_until;
drop index account_due;
create index account_due on account (next_charge_at) where next_charge_at is not null;
