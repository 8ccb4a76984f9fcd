drop trigger account_expiration_by_hand on account;
drop function account_expiration_by_hand();
