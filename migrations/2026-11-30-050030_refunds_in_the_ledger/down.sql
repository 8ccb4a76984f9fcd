create or replace view journal_fault as
select 'entry ' || entry_id as subject, 'its posting ' || (no + 1) / 2 || ' comes to ' || sum(amount) as fault
from journal_line group by entry_id, (no + 1) / 2 having sum(amount) <> 0
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
where p.amount is distinct from t.amount
union all
-- What is deferred is what is not earned yet.
select 'deferred revenue in ' || coalesce(ledger.currency, plan.currency),
    format('is %s, of what was sold %s is not earned', coalesce(ledger.amount, 0), coalesce(plan.amount, 0))
from (
        select e.currency, -sum(l.amount) as amount
        from journal_line l join journal_entry e on e.id = l.entry_id
        where l.account = 'deferred_revenue' group by e.currency
    ) as ledger
    full join (
        select currency, sum(
            case
                when cut_on is null then amount
                else earned_by(amount, starts_on, ends_on, known_on, last_on, last_on)
            end - earned_by(amount, starts_on, ends_on, known_on, last_on, until.day)) as amount
        from deferral, (select coalesce(max(day), '-infinity') as day from revenue_day) as until
        group by currency
    ) as plan using (currency)
where coalesce(ledger.amount, 0) <> coalesce(plan.amount, 0);
