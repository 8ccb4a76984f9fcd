drop index payment_of_state;
drop index bill_of_status;
drop index account_of_status;
drop index account_newest;
