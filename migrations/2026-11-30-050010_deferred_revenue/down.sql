drop view journal_fault;
create view journal_fault as
select 'entry ' || entry_id as subject, 'its lines come to ' || sum(amount) as fault
from journal_line group by entry_id having sum(amount) <> 0
union all
select 'payment ' || coalesce(p.id, t.payment_id),
    format('has taken %s, the ledger has %s', coalesce(p.amount || ' ' || p.currency, 'nothing'),
        coalesce(t.amount || ' ' || t.currency, 'nothing'))
from (select id, amount, currency from payment where is_success) as p
    full join (
        select e.payment_id, e.currency, sum(l.amount) as amount
        from journal_entry e join journal_line l on l.entry_id = e.id
        where e.kind in ('payment', 'placement') and l.amount > 0
        group by e.payment_id, e.currency
    ) as t on t.payment_id = p.id and t.currency = p.currency
where p.amount is distinct from t.amount;
drop trigger journal_entry_in_open_month on journal_entry;
drop function journal_entry_is_of_an_open_month();
drop table tariff_vat, closed_balance, closed_month, revenue_day, deferral;
drop function earned_by(bigint, date, date, date, date, date);
