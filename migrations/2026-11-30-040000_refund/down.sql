drop table chargeback;
drop table refund_limit;
drop table refund;
