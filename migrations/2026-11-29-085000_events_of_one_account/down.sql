drop index event_of_account_in_order;
