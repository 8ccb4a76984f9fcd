-- When, and how much of it, the gateway has paid a transaction out to the bank, once it says so.
alter table gateway_transaction
    add column payout_on date,
    -- Minor units, what the gateway keeps taken off.
    add column payout_amount bigint;
-- What the ledger has of a transaction of the gateway.
create index journal_entry_of_transaction on journal_entry (transaction_id) where transaction_id is not null;
create index difference_of_transaction on difference (transaction_id) where transaction_id is not null;

-- A day on which the ledger's clearing account and the gateway's list do not come to the same.
alter table difference drop constraint difference_kind_check;
alter table difference add constraint difference_kind_check check (
    kind in ('missing_here', 'missing_there', 'amount', 'currency', 'status', 'duplicate', 'refund_missing_here',
             'refund_missing_there', 'refund_amount', 'chargeback', 'ledger')
);
