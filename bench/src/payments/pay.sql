-- The statements of a first payment, in the transactions of `crates/billing/src/store/payments`, as its log has them.
-- Each session counts its own payments; `pgbench.rs` has made the accounts.
\set n :n + 1

-- create: the API
begin;
select a.*, a.id as account from account a
    where id = ('00000000-0000-4000-' || lpad(:sessions::text, 4, '0') || '-' || lpad(:client_id::text, 4, '0')
        || lpad(:n::text, 8, '0'))::uuid limit 1 for no key update \gset
select a.*, b.*, p.* from account a join bill b on b.account_id = a.id join payment p on p.bill_id = b.id
    where p.idempotency_key = :account::text limit 1;
select * from tariff where id = :tariff::uuid limit 1;
select * from bill where account_id = :account::uuid and status in ('Not paid', 'In work');
select max(period_no) from bill where account_id = :account::uuid and status <> 'Void';
insert into bill (id, created_at, updated_at, status, amount, account_id, paid_period, card_cryptogram_packet, ip_address,
        payment_type, currency, tariff_id, description, kind, period_no)
    values (gen_random_uuid(), now(), now(), 'In work', 29900, :account::uuid, '1 month', repeat('x', 500), '203.0.113.7',
        'CRYPTOGRAM', 'RUB', :tariff::uuid, 'Month', 'primary', 1) returning *, id as bill \gset
insert into payment (id, created_at, updated_at, bill_id, state, is_success, instrument, amount, currency, request_id,
        idempotency_key, request_digest, transaction_id, info, finished_at, woken_at)
    values (gen_random_uuid(), now(), now(), :bill::uuid, 'created', default, 'cryptogram', 29900, 'RUB',
        'charge:' || gen_random_uuid(), :account::text, sha256('x'), default, default, default, now())
    returning *, id as payment \gset
with begun as (
    insert into card (id, created_at, account_id, generation)
    select gen_random_uuid(), now(), :account::uuid, coalesce(max(generation), 0) + 1 from card where account_id = :account::uuid
    returning id
)
insert into attempt_card (payment_id, card_id) select :payment::uuid, id from begun;
commit;

-- begin_sending: the worker, before the gateway is called
begin;
select a.*, b.*, p.* from account a join bill b on b.account_id = a.id join payment p on p.bill_id = b.id
    where p.id = :payment::uuid limit 1 for no key update;
update payment set updated_at = now(), is_success = null, info = null, transaction_id = null, state = 'sending', sends = 1,
        first_sent_at = now(), last_sent_at = now(), posts = 0, acs_url = null, pa_req = null, three_ds_expires_at = null,
        reason_code = null, decline_group = null, reason = null, cardholder_message = null, retry_after = null,
        look_again_at = null, absent_at = null, finished_at = null, card = null
    where id = :payment::uuid and state = 'created' returning *;
commit;

-- apply: the worker, after its answer
begin;
select a.*, b.*, p.* from account a join bill b on b.account_id = a.id join payment p on p.bill_id = b.id
    where p.id = :payment::uuid limit 1 for no key update;
update payment set updated_at = now(), is_success = true, info = null, transaction_id = (random() * 1e15)::bigint,
        state = 'succeeded', sends = 1, first_sent_at = now(), last_sent_at = now(), posts = 0, acs_url = null,
        pa_req = null, three_ds_expires_at = null, reason_code = null, decline_group = null, reason = null,
        cardholder_message = null, retry_after = null, look_again_at = null, absent_at = null, finished_at = now(),
        card = '{"first_six": "424242", "last_four": "4242", "expires": "12/39", "scheme": "Visa"}'
    where id = :payment::uuid and state = 'sending' returning *;
update bill set updated_at = now(), status = 'Paid', paid_at = now(), card_cryptogram_packet = null, pa_res = null,
        payment_type = 'CRYPTOGRAM'
    where id = :bill::uuid returning *;
select c.id as card from attempt_card a join card c on c.id = a.card_id
    where a.payment_id = :payment::uuid and c.ended_at is null limit 1 \gset
update card set token = :payment::text || repeat('x', 80),
        mask = '{"first_six": "424242", "last_four": "4242", "expires": "12/39", "scheme": "Visa"}'
    where id = :card::uuid;
update account set updated_at = now(), status = 'Active', expiration_dt = current_date + 30, tariff_id = :tariff::uuid,
        anchor_at = now(), anchor_period_no = 1, paid_period = '1 month', period_no = 1,
        paid_until = now() + interval '1 month', access_until = now() + interval '1 month 3 days',
        next_charge_at = now() + interval '1 month', cancel_at_period_end = false, declines = 0, first_declined_at = null,
        payment_token = :payment::text || repeat('x', 80),
        card = '{"first_six": "424242", "last_four": "4242", "expires": "12/39", "scheme": "Visa"}'
    where id = :account::uuid returning *;
select (select percent from tariff_vat where tariff_id = :tariff::uuid and effective_from <= now()
        order by effective_from desc limit 1) as percent,
    coalesce((select -sum(l.amount) from journal_entry e join journal_line l on l.entry_id = e.id
        where e.payment_id = :payment::uuid and e.kind in ('refund', 'chargeback') and l.account = 'gateway_clearing'), 0)
        as returned;
with entry as (
    insert into journal_entry (day, at, kind, key, currency, account_id, bill_id, payment_id, tariff_id, transaction_id)
    values (greatest(current_date, (select (max(month) + interval '1 month')::date from closed_month)), now(), 'payment', 'taken:' || :payment::text, 'RUB', :account::uuid, :bill::uuid, :payment::uuid,
        :tariff::uuid, 7)
    on conflict (key) do nothing
    returning id
), plan as (
    insert into deferral (account_id, payment_id, tariff_id, currency, amount, starts_on, ends_on, known_on)
    select :account::uuid, :payment::uuid, :tariff::uuid, 'RUB', 29900, current_date, current_date + 30,
        greatest(current_date, (select max(day) + 1 from revenue_day))
    from entry
)
insert into journal_line (entry_id, no, account, amount)
select entry.id, line.no, line.account, line.amount
from entry, unnest(array['gateway_clearing', 'deferred_revenue'], array[29900, -29900]) with ordinality
    as line (account, amount, no);
commit;
