-- The ledger: double entry, append-only. An entry is written in the transaction of the change of money that it tells of.
-- Nothing of the four tables is ever deleted, so ids need no foreign keys here, which would be checked for every row.
create table journal_entry (
    id bigint generated always as identity primary key,
    -- The accounting day.
    day date not null,
    at timestamptz not null,
    kind text not null check (
        kind in ('payment', 'suspense', 'placement', 'refund', 'chargeback', 'revenue', 'payout')
    ),
    -- What happened, named so that it is entered once.
    key text not null unique check (length(key) between 1 and 128),
    currency char(3) not null check (currency ~ '^[A-Z]{3}$'),
    account_id uuid,
    bill_id uuid,
    payment_id uuid,
    tariff_id uuid,
    -- The gateway's number.
    transaction_id bigint,
    -- The transaction that wrote it: only that one adds its lines.
    written_in bigint not null default (pg_current_xact_id()::text::bigint)
);
create index journal_entry_by_day on journal_entry (day, id);
create index journal_entry_by_payment on journal_entry (payment_id) where payment_id is not null;

-- In pairs: an odd line is the debit of a posting, the next one its credit.
create table journal_line (
    entry_id bigint not null,
    no integer not null check (no > 0),
    account text not null check (
        account in ('receivable', 'gateway_clearing', 'bank', 'deferred_revenue', 'revenue', 'vat', 'refunds_payable',
            'fees', 'chargebacks', 'suspense')
    ),
    -- In minor units of the entry's currency: a debit is positive, a credit negative.
    amount bigint not null check (amount <> 0),
    primary key (entry_id, no)
);

-- Payments from before the ledger. What they bought is deferred by the migration that knows of periods.
insert into journal_entry (day, at, kind, key, currency, account_id, bill_id, payment_id, tariff_id, transaction_id)
select (p.finished_at at time zone a.time_zone)::date, p.finished_at, 'payment',
    coalesce('taken:' || p.transaction_id, 'payment:' || p.id), p.currency, a.id, b.id, p.id, b.tariff_id, p.transaction_id
from payment p join bill b on b.id = p.bill_id join account a on a.id = b.account_id
where p.is_success
order by p.finished_at, p.id;

insert into journal_entry (day, at, kind, key, currency, account_id, bill_id, payment_id, tariff_id, transaction_id)
select e.day, e.at, 'refund', 'given_back:' || p.id, e.currency, e.account_id, e.bill_id, p.id, e.tariff_id, e.transaction_id
from journal_entry e join payment p on p.id = e.payment_id
where p.info = 'taken, and given back'
order by e.id;

insert into journal_line (entry_id, no, account, amount)
select e.id, side.no, side.account, side.sign * p.amount
from journal_entry e join payment p on p.id = e.payment_id
    cross join lateral (
        select case
            when p.state = 'succeeded' and p.info is distinct from 'taken, and given back' then 'deferred_revenue'
            else 'refunds_payable'
        end as other
    ) as kept
    cross join lateral (values
        (1, case e.kind when 'payment' then 'gateway_clearing' else kept.other end, 1),
        (2, case e.kind when 'payment' then kept.other else 'gateway_clearing' end, -1)
    ) as side (no, account, sign);

-- Held to zero when the transaction ends, whatever it did in between.
create function journal_line_is_checked() returns trigger
    language plpgsql as $$
begin
    if not exists (
        select from journal_entry where id = new.entry_id and written_in = pg_current_xact_id()::text::bigint
    ) then
        raise exception 'line % of journal entry % is not of the transaction that wrote the entry', new.no, new.entry_id
            using errcode = 'restrict_violation';
    end if;
    if (select sum(amount) from journal_line where entry_id = new.entry_id) <> 0 then
        raise exception 'journal entry % does not balance', new.entry_id using errcode = 'check_violation';
    end if;
    return null;
end
$$;
create constraint trigger journal_line_balances after insert on journal_line
    deferrable initially deferred for each row execute function journal_line_is_checked();

create function journal_entry_is_checked() returns trigger
    language plpgsql as $$
begin
    if not exists (select from journal_line where entry_id = new.id) then
        raise exception 'journal entry % has no lines', new.id using errcode = 'check_violation';
    end if;
    return null;
end
$$;
create constraint trigger journal_entry_has_lines after insert on journal_entry
    deferrable initially deferred for each row execute function journal_entry_is_checked();

create function journal_is_append_only() returns trigger
    language plpgsql as $$
begin
    raise exception 'the journal is append-only' using errcode = 'restrict_violation';
end
$$;
create trigger journal_entry_is_never_changed before update or delete on journal_entry
    for each row execute function journal_is_append_only();
create trigger journal_entry_is_never_emptied before truncate on journal_entry
    for each statement execute function journal_is_append_only();
create trigger journal_line_is_never_changed before update or delete on journal_line
    for each row execute function journal_is_append_only();
create trigger journal_line_is_never_emptied before truncate on journal_line
    for each statement execute function journal_is_append_only();
-- Also for a session that plays a replica, which other triggers are silent for.
alter table journal_entry enable always trigger journal_entry_is_never_changed;
alter table journal_entry enable always trigger journal_entry_is_never_emptied;
alter table journal_line enable always trigger journal_line_is_never_changed;
alter table journal_line enable always trigger journal_line_is_never_emptied;

-- What is wrong with the ledger: nothing, ever. Tests look here after each of them.
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
