delete from difference where kind = 'ledger';
alter table difference drop constraint difference_kind_check;
alter table difference add constraint difference_kind_check check (
    kind in ('missing_here', 'missing_there', 'amount', 'currency', 'status', 'duplicate', 'refund_missing_here',
             'refund_missing_there', 'refund_amount', 'chargeback')
);
drop index journal_entry_of_transaction, difference_of_transaction;
alter table gateway_transaction drop column payout_amount, drop column payout_on;
