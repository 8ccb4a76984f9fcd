drop table payment;
drop table bill;
drop table account;
drop table tariff;
drop function account_expiration_moves();
drop function is_billing_period(interval);
