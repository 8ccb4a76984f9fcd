drop index payment_to_look_after;
drop table tries;
