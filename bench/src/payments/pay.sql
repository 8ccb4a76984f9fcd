-- The statements of a first payment, in the transactions of `crates/billing/src/store/payments`.
select nextval('bench_next') as n \gset
select id as account from bench_account where n = :n \gset
select id as tariff from tariff order by amount limit 1 \gset

-- create: the API
begin;
select * from account where id = :account::uuid for no key update;
select * from account a join bill b on b.account_id = a.id join payment p on p.bill_id = b.id
    where p.idempotency_key = :account::text limit 1;
select * from tariff where id = :tariff::uuid;
select * from bill where account_id = :account::uuid and status in ('Not paid', 'In work') limit 1;
select max(period_no) from bill where account_id = :account::uuid and status <> 'Void';
insert into bill (status, amount, account_id, paid_period, card_cryptogram_packet, ip_address, payment_type, currency,
        tariff_id, description, kind, period_no)
    values ('In work', 29900, :account::uuid, '1 month', repeat('x', 500), '203.0.113.7', 'CRYPTOGRAM', 'RUB',
        :tariff::uuid, 'Month', 'primary', 1) returning id as bill \gset
insert into payment (bill_id, state, instrument, amount, currency, request_id, idempotency_key, request_digest, woken_at)
    values (:bill::uuid, 'created', 'cryptogram', 29900, 'RUB', 'charge:' || gen_random_uuid(), :account::text,
        sha256('x'), now()) returning id as payment \gset
commit;

-- begin_sending: the worker, before the gateway is called
begin;
select * from account a join bill b on b.account_id = a.id join payment p on p.bill_id = b.id
    where p.id = :payment::uuid limit 1 for no key update;
update payment set state = 'sending', sends = 1, first_sent_at = now(), last_sent_at = now(), updated_at = now()
    where id = :payment::uuid and state = 'created' returning *;
commit;

-- apply: the worker, after its answer
begin;
select * from account a join bill b on b.account_id = a.id join payment p on p.bill_id = b.id
    where p.id = :payment::uuid limit 1 for no key update;
update payment set state = 'succeeded', is_success = true, transaction_id = (random() * 1e15)::bigint,
        finished_at = now(), updated_at = now(),
        card = '{"first_six": "424242", "last_four": "4242", "expires": "12/39", "scheme": "Visa"}'
    where id = :payment::uuid and state = 'sending' returning *;
update bill set status = 'Paid', paid_at = now(), card_cryptogram_packet = null, updated_at = now()
    where id = :bill::uuid returning *;
update account set status = 'Active', payment_token = :payment::text || repeat('x', 80), tariff_id = :tariff::uuid,
        anchor_at = now(), anchor_period_no = 1, paid_period = '1 month', period_no = 1,
        paid_until = now() + interval '1 month', access_until = now() + interval '1 month 3 days',
        next_charge_at = now() + interval '1 month', expiration_dt = current_date + 30, updated_at = now(),
        card = '{"first_six": "424242", "last_four": "4242", "expires": "12/39", "scheme": "Visa"}'
    where id = :account::uuid returning *;
commit;
