-- What was sold for days to come: revenue of each day, tariff by tariff. A plan beside the journal, and the reason of its
-- entries of revenue.
create table deferral (
    id bigint generated always as identity primary key,
    account_id uuid not null,
    payment_id uuid not null,
    tariff_id uuid not null,
    currency char(3) not null,
    -- Without VAT, in minor units.
    amount bigint not null check (amount > 0),
    -- Earned evenly from this day to the last one before that.
    starts_on date not null,
    ends_on date not null check (ends_on > starts_on),
    -- Nothing is earned of money before it has come; the days before are caught up on this one.
    known_on date not null,
    -- From this day on it is earned no more: given back, taken back, or under another tariff.
    cut_on date,
    last_on date not null generated always as (
        least(greatest(known_on, ends_on - 1), coalesce(cut_on - 1, 'infinity'))
    ) stored
);
create index deferral_by_payment on deferral (payment_id);
create index deferral_running on deferral (last_on, account_id);
create index deferral_by_account on deferral (account_id, last_on);

-- What is earned by the end of a day.
create function earned_by(amount bigint, starts_on date, ends_on date, known_on date, last_on date, day date)
    returns bigint language sql immutable parallel safe as $$
    select case
        when least(day, last_on) < known_on or least(day, last_on) < starts_on then 0
        else amount * least(least(day, last_on) - starts_on + 1, ends_on - starts_on) / (ends_on - starts_on)
    end
$$;

-- The days whose revenue is entered, one after the other.
create table revenue_day (
    day date primary key,
    recognized_at timestamptz not null
);

-- Months that take no entries any more, one after the other.
create table closed_month (
    month date primary key check (extract(day from month) = 1),
    closed_at timestamptz not null,
    closed_by text not null check (length(closed_by) between 1 and 255)
);
-- What the accounts came to at the end of a closed month, so that nobody adds up years.
create table closed_balance (
    month date not null references closed_month on delete restrict,
    account text not null,
    currency char(3) not null,
    amount bigint not null,
    primary key (month, account, currency)
);

-- The VAT of a tariff from a time on; null, or no row: sold without.
create table tariff_vat (
    tariff_id uuid not null references tariff on delete restrict,
    effective_from timestamptz not null,
    percent integer check (percent between 0 and 99),
    created_at timestamptz not null,
    set_by text not null check (length(set_by) between 1 and 255),
    primary key (tariff_id, effective_from)
);

-- Periods bought before the ledger.
insert into deferral (account_id, payment_id, tariff_id, currency, amount, starts_on, ends_on, known_on)
select account_id, payment_id, tariff_id, currency, amount, starts_on,
    greatest((starts_on + paid_period)::date, starts_on + 1), known_on
from (
    select a.id as account_id, p.id as payment_id, b.tariff_id, p.currency, p.amount, b.paid_period, e.day as known_on,
        case
            when b.kind = 'renewal' and a.anchor_at is not null and b.period_no > a.anchor_period_no
                and b.paid_period = a.paid_period
                then ((a.anchor_at at time zone a.time_zone) + (b.period_no - 1 - a.anchor_period_no) * a.paid_period)::date
            else e.day
        end as starts_on
    from journal_entry e join payment p on p.id = e.payment_id join bill b on b.id = p.bill_id
        join account a on a.id = b.account_id
    where e.kind = 'payment' and b.paid_period is not null
        and exists (select from journal_line l where l.entry_id = e.id and l.account = 'deferred_revenue')
) as bought
order by known_on, payment_id;

create function journal_entry_is_of_an_open_month() returns trigger
    language plpgsql as $$
begin
    -- Whoever closes a month waits for the entries that are being written.
    perform pg_advisory_xact_lock_shared(7216309245050);
    if exists (select from closed_month where month >= date_trunc('month', new.day)::date) then
        raise exception 'the month of % is closed', new.day using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;
create trigger journal_entry_in_open_month before insert on journal_entry
    for each row execute function journal_entry_is_of_an_open_month();
create trigger closed_month_is_never_changed before update or delete on closed_month
    for each row execute function journal_is_append_only();
create trigger closed_month_is_never_emptied before truncate on closed_month
    for each statement execute function journal_is_append_only();

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
