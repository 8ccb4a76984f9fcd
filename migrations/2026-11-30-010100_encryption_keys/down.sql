drop index bill_verified_now;
drop table encryption_key;
