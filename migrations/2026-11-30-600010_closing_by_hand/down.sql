drop table payment_closing;
