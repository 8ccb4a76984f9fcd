-- Replaces `:n` by a number and `:last` by a time as PostgreSQL reads it: as many subscribers to a tariff of a month, who
-- bought it on one of the thirty days before that, evenly, with their bills, payments and events.
create temporary table newcomer on commit drop as
select gen_random_uuid() as id, gen_random_uuid() as bill_id, gen_random_uuid() as payment_id, gen_random_uuid() as card_id, n,
       (:last)::timestamptz - (n % 30) * interval '24 hours' as bought_at, t.id as tariff_id, t.name, t.amount, t.currency
from generate_series(1, :n) as n, (select * from tariff where period = interval '1 month' order by amount limit 1) as t;

insert into account (id, created_at, updated_at, status, payment_token, expiration_dt, tariff_id, time_zone, anchor_at,
    anchor_period_no, paid_period, period_no, paid_until, access_until, next_charge_at)
select id, bought_at, bought_at, 'Active', 'sealed-' || id, ends_at::date, tariff_id, 'UTC', bought_at,
    0, interval '1 month', 1, ends_at, ends_at + interval '48 hours', ends_at - interval '12 hours'
from (select *, (bought_at at time zone 'UTC' + interval '1 month') at time zone 'UTC' as ends_at from newcomer) as newcomer;

insert into bill (id, created_at, updated_at, status, amount, account_id, paid_period, payment_type, currency, tariff_id,
    description, kind, period_no, paid_at)
select bill_id, bought_at, bought_at, 'Paid', amount, id, interval '1 month', 'CRYPTOGRAM', currency, tariff_id,
    name, 'primary', 1, bought_at
from newcomer;

insert into payment (id, created_at, updated_at, is_success, bill_id, transaction_id, state, instrument, amount, currency,
    request_id, idempotency_key, request_digest, sends, first_sent_at, last_sent_at, woken_at, finished_at)
select payment_id, bought_at, bought_at, true, bill_id, 1000000000 + n, 'succeeded', 'cryptogram', amount, currency,
    'charge:' || payment_id, payment_id, '\x00', 1, bought_at, bought_at, bought_at, bought_at
from newcomer;

with entry as (
    insert into journal_entry (day, at, kind, key, currency, account_id, bill_id, payment_id, tariff_id, transaction_id)
    select bought_at::date, bought_at, 'payment', 'taken:' || (1000000000 + n), currency, id, bill_id, payment_id, tariff_id,
        1000000000 + n
    from newcomer
    returning id, payment_id
)
insert into journal_line (entry_id, no, account, amount)
select entry.id, side.no, side.account, side.sign * newcomer.amount
from entry join newcomer using (payment_id),
    (values (1, 'gateway_clearing', 1), (2, 'deferred_revenue', -1)) as side (no, account, sign);

insert into deferral (account_id, payment_id, tariff_id, currency, amount, starts_on, ends_on, known_on)
select id, payment_id, tariff_id, currency, amount, bought_at::date, (bought_at::date + interval '1 month')::date, bought_at::date
from newcomer;

insert into card (id, created_at, account_id, generation, token)
select card_id, bought_at, id, 1, 'sealed-' || id from newcomer;
insert into attempt_card (payment_id, card_id) select payment_id, card_id from newcomer;

insert into event (at, kind, account_id, bill_id, payment_id, source, is_public, position)
select bought_at, kind, id, bill_id, payment_id, 'worker', true,
    (select last_position from event_log) + row_number() over (order by n)
from newcomer, unnest(array['account_registered', 'payment_succeeded', 'access_granted']) as kind;
update event_log set last_position = greatest(last_position, (select coalesce(max(position), 0) from event));
