drop index payment_sent;
drop index refund_sent;
drop table difference;
drop table reconciliation;
drop table gateway_chargeback;
drop table gateway_transaction;
