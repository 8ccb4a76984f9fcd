drop index notification_orphan;
drop index notification_receipt;
drop index notification_newest;
drop index refund_of_state;
