-- The figures of the day $1, which lasts from $2 to $3.
with entered as (
    select
        case
            when l.account = 'gateway_clearing' and e.kind in ('payment', 'suspense') then 'taken'
            when l.account = 'gateway_clearing' and e.kind in ('refund', 'chargeback') then 'given_back'
            when l.account = 'revenue' then 'earned'
            when l.account = 'deferred_revenue' then 'deferred'
            when l.account = 'vat' then 'vat'
        end as figure,
        e.tariff_id, e.currency, e.id, e.kind, case when e.kind in ('payment', 'suspense') and l.account = 'gateway_clearing'
            then l.amount else -l.amount end as amount
    from journal_entry e join journal_line l on l.entry_id = e.id
    where e.day = $1
), today as materialized (
    select * from paying_on($1)
), yesterday as materialized (
    select * from paying_on($1 - 1)
), changed as (
    select coalesce(t.account_id, y.account_id) as account_id, coalesce(t.tariff_id, y.tariff_id) as tariff_id,
        coalesce(t.currency, y.currency) as currency, t.monthly as now, y.monthly as before
    from today t full join yesterday y on y.account_id = t.account_id and y.currency = t.currency
    where t.monthly is distinct from y.monthly
), gained as (
    select tariff_id, currency, coalesce(now, 0) - coalesce(before, 0) as amount,
        case
            when before is null and exists (
                select from deferral d where d.account_id = changed.account_id and d.starts_on < $1 and d.known_on < $1
                    and not is_trial(d.account_id, d.payment_id)
            ) then 'returned'
            when before is null then 'new'
            when now is null and (
                select v.kind in ('cancel_requested', 'account_closed') from event v
                where v.account_id = changed.account_id and v.at < $3
                    and v.kind in ('cancel_requested', 'resumed', 'account_closed')
                order by v.id desc limit 1
            ) then 'left'
            when now is null then 'lapsed'
            when now > before then 'expanded'
            else 'contracted'
        end as label
    from changed
), ended as (
    select p.id, p.bill_id, p.state, p.instrument, p.decline_group, p.reason_code, p.amount, p.currency, b.tariff_id, b.kind
    from payment p join bill b on b.id = p.bill_id
    where p.finished_at >= $2 and p.finished_at < $3 and b.kind <> 'verification'
), renewals as (
    select e.state, e.amount, e.currency, e.tariff_id, e.reason_code, before.refusals, before.first_code
    from ended e cross join lateral (
        select count(*) as refusals, (array_agg(d.reason_code order by d.finished_at))[1] as first_code
        from payment d where d.bill_id = e.bill_id and d.id <> e.id and d.state = 'declined'
    ) as before
    where e.kind = 'renewal'
)
-- A call that has not ended in the day is told as one without an end.
, calls as (
    select coalesce(outcome, 'none') as outcome, floor(extract(epoch from ended_at - started_at) * 1000)::bigint as ms
    from gateway_call where started_at >= $2 and started_at < $3
), cohorts as (
    -- Of the last day of a month only.
    select to_char(first.day, 'YYYY-MM') as month, t.currency, t.monthly
    from today t cross join lateral (
        select min(d.starts_on) as day from deferral d
        where d.account_id = t.account_id and not is_trial(d.account_id, d.payment_id)
    ) as first
    where extract(day from $1 + 1) = 1
)
insert into daily_figure (day, figure, label, tariff_id, currency, count, amount)
-- What went back is told by how: given back, or taken back by a bank.
select $1, figure, case when figure = 'given_back' then kind else '' end, tariff_id, currency, count(distinct id), sum(amount)
from entered where figure is not null group by figure, 3, tariff_id, currency
union all
select $1, 'paying', '', tariff_id, currency, count(*), sum(monthly) from today group by tariff_id, currency
union all
select $1, 'trial', '', b.tariff_id, b.currency, count(*), 0
from trial t join bill b on b.id = t.bill_id
where t.ends_at >= $3 and t.began_at < $3 and b.trial_refused is null
group by b.tariff_id, b.currency
union all
select $1, 'gained', label, tariff_id, currency, count(*), sum(amount) from gained group by label, tariff_id, currency
union all
select $1, 'attempt', instrument || ':' || case when state = 'declined' then coalesce(decline_group, state) else state end,
    tariff_id, currency, count(*), sum(amount)
from ended group by 3, tariff_id, currency
union all
select $1, 'refused', coalesce(reason_code::text, ''), tariff_id, currency, count(*), sum(amount)
from renewals where state = 'declined' and refusals = 0 group by 3, tariff_id, currency
union all
select $1, 'recovered', coalesce(first_code::text, '') || ':' || refusals, tariff_id, currency, count(*), sum(amount)
from renewals where state = 'succeeded' and refusals > 0 group by 3, tariff_id, currency
union all
select $1, 'call', outcome || ':' || coalesce((
        select min(most) from unnest(array[250, 500, 1000, 2000, 5000, 10000, 30000, 60000]) as most where ms <= most
    )::text, ''), null, 'XXX', count(*), coalesce(sum(ms), 0)
from calls group by 3
union all
select $1, 'cohort', month, null, currency, count(*), sum(monthly) from cohorts group by month, currency
