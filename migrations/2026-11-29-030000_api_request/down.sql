drop index bill_of_account;
drop table api_request;
