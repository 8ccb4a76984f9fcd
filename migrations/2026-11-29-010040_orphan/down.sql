drop index bill_by_account;
drop index bill_one_per_period;
create unique index bill_one_per_period on bill (account_id, kind, period_no) where status <> 'Void';
drop table orphan;
