//! Lists are gone through part by part: whichever way they are sorted, forwards and backwards, each row is met once, in one
//! order, however many rows are of the same time or amount.

use billing::store::browse::{
    self, AccountFilter, AccountKey, BillFilter, DifferenceFilter, EventFilter, NotificationFilter, Order, Part,
    PaymentCursor, PaymentFilter, PaymentKey, RefundFilter, RefundKey, Sort,
};
use billing::store::staff::{self, AuditFilter};
use diesel_async::SimpleAsyncConnection as _;

use crate::shop::Shop;
use crate::support::noon;

const ORDERS: [Order; 2] = [Order::Descending, Order::Ascending];
/// More than any list has here.
const ALL: i64 = 10_000;
/// Of a part: no multiple of the rows that are alike.
const FEW: i64 = 7;

/// Beside 120 subscribers, four of each day: accounts that nobody has paid for, and rows of the other lists.
const MORE: &str = "
    insert into account (created_at, updated_at, status)
    select timestamptz '2026-01-01' + n / 4 * interval '1 day', now(), 'Inactive' from generate_series(1, 10) as n;
    insert into refund (payment_id, amount, currency, state, source, effect, reason, request_id, finished_at)
    select id, 100 + transaction_id % 3, currency, 'failed', 'external', 'keep', 'many', 'many:' || id, created_at
    from payment;
    insert into notification (kind, gateway_id, body_sha256, received_at, told, transaction_id, payment_id, effect,
        effected_at, try_at)
    select 'pay', (transaction_id / 2)::text, sha256(id::text::bytea), created_at, '{}', transaction_id, id, 'applied',
        created_at, created_at
    from payment;
    insert into audit_log (at, name, role, address, action)
    select created_at, 'ada', 'support', '192.0.2.1', 'looked' from account;
    insert into reconciliation (id, created_at, kind, range_from, range_to, phase, started_at, ended_at, leased_until)
    values (gen_random_uuid(), now(), 'asked', '2010-01-01', '2010-01-02', 'ended', now(), now(), now());
    insert into difference (id, kind, subject, created_at, found_by, seen_at, seen_by, at, payment_id, state)
    select gen_random_uuid(), 'amount', p.id, now(), r.id, now(), r.id, p.created_at, p.id, 'open'
    from payment p, reconciliation r;";

async fn shop() -> Shop {
    let shop = Shop::open().await;
    let many = include_str!("../subscribers.sql").replace(":n", "120");
    let many = many.replace(":last", &format!("'{}'", noon().to_rfc3339()));
    shop.conn().await.batch_execute(&format!("begin; {many} commit; {MORE}")).await.unwrap();
    shop
}

/// The keys of a list as it is read at once; read in parts, to its end and back, they are the same.
macro_rules! gone_through {
    ($name:expr, $read:expr, $place:expr, $key:expr) => {{
        let all = $read(Part::First, ALL).await.unwrap();
        assert!(!all.has_before && !all.has_behind && all.rows.len() >= 120, "{}: {} rows", $name, all.rows.len());
        let whole: Vec<_> = all.rows.iter().map($key).collect();
        let (mut part, mut met) = (Part::First, Vec::new());
        let mut slice = loop {
            let slice = $read(part, FEW).await.unwrap();
            met.extend(slice.rows.iter().map($key));
            part = match slice.rows.last() {
                Some(last) if slice.has_behind => Part::Behind($place(last)),
                _ => break slice,
            };
        };
        assert_eq!(met, whole, "{}, forwards", $name);
        let mut back: Vec<_> = slice.rows.iter().rev().map($key).collect();
        while slice.has_before {
            slice = $read(Part::Before($place(&slice.rows[0])), FEW).await.unwrap();
            back.extend(slice.rows.iter().rev().map($key));
        }
        back.reverse();
        assert_eq!(back, whole, "{}, backwards", $name);
        whole
    }};
}

/// Keys that go up, or down; the last part of each tells rows apart.
fn assert_sorted<K: Ord + Clone + std::fmt::Debug>(name: &str, mut keys: Vec<K>, order: Order) {
    if order == Order::Descending {
        keys.reverse();
    }
    let mut sorted = keys.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(keys, sorted, "{name}, {order:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_gone_through_whatever_they_are_sorted_by() {
    let shop = shop().await;
    let mut conn = shop.conn().await;
    for by in [AccountKey::Created, AccountKey::PaidUntil, AccountKey::NextCharge] {
        for order in ORDERS {
            let filter = AccountFilter { sort: Sort { by, order }, ..AccountFilter::default() };
            let name = format!("accounts by {by:?}, {order:?}");
            let mut read = async |part, limit| browse::accounts(&mut conn, filter, part, limit).await;
            let place = |row: &browse::AccountLine| row.cursor(by);
            let keys = gone_through!(name, read, place, place);
            assert_eq!(keys.len(), if by == AccountKey::Created { 130 } else { 120 }, "{name}: those that have it");
            assert_sorted(&name, keys, order);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_gone_through_whatever_it_is_sorted_by() {
    let shop = shop().await;
    let mut conn = shop.conn().await;
    for order in ORDERS {
        let filter = BillFilter { order, ..BillFilter::default() };
        let mut read = async |part, limit| browse::bills(&mut conn, filter, part, limit).await;
        let place = |row: &billing::store::subscriptions::BillView| row.id;
        assert_sorted("bills", gone_through!("bills", read, place, place), order);
        for by in [PaymentKey::Made, PaymentKey::Transaction] {
            let filter = PaymentFilter { sort: Sort { by, order }, ..PaymentFilter::default() };
            let mut read = async |part, limit| browse::payments(&mut conn, filter, part, limit).await;
            let place = |row: &billing::store::payments::PaymentView| PaymentCursor::of(row, by);
            let key = |row: &billing::store::payments::PaymentView| match by {
                PaymentKey::Made => row.id.get().as_u128(),
                PaymentKey::Transaction => row.transaction_id.unwrap_or_default().unsigned_abs().into(),
            };
            assert_sorted("payments", gone_through!("payments", read, place, key), order);
        }
        for by in [RefundKey::Made, RefundKey::Amount] {
            let filter = RefundFilter { sort: Sort { by, order }, ..RefundFilter::default() };
            let mut read = async |part, limit| browse::refunds(&mut conn, filter, part, limit).await;
            let place = |row: &billing::models::RefundRow| (row.amount, row.id);
            let key = |row: &billing::models::RefundRow| match by {
                RefundKey::Made => (0, row.id),
                RefundKey::Amount => (row.amount.get(), row.id),
            };
            assert_sorted("refunds", gone_through!("refunds", read, place, key), order);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_gone_through_from_either_end() {
    let shop = shop().await;
    let mut conn = shop.conn().await;
    for order in ORDERS {
        let filter = DifferenceFilter { order, ..DifferenceFilter::default() };
        let mut read = async |part, limit| browse::differences(&mut conn, filter, part, limit).await;
        let place = |row: &billing::store::reconciliation::Difference| (row.at, row.id);
        assert_sorted("differences", gone_through!("differences", read, place, place), order);

        let filter = NotificationFilter { order, ..NotificationFilter::default() };
        let mut read = async |part, limit| browse::notifications(&mut conn, filter, &part, limit).await;
        let place = |row: &browse::NotificationLine| row.cursor.clone();
        let key = |row: &browse::NotificationLine| {
            let of = &row.cursor;
            (of.received_at, of.gateway_id.clone(), of.body_sha256.clone())
        };
        assert_sorted("notifications", gone_through!("notifications", read, place, key), order);

        let filter = EventFilter { order, ..EventFilter::default() };
        let mut read = async |part, limit| browse::events(&mut conn, filter, part, limit).await;
        let place = |row: &billing::event::Event| row.id;
        assert_sorted("events", gone_through!("events", read, place, place), order);

        let filter = AuditFilter { order, ..AuditFilter::default() };
        let mut read = async |part, limit| staff::audit_entries(&mut conn, &filter, part, limit).await;
        let place = |row: &staff::AuditEntry| row.id;
        assert_sorted("audit", gone_through!("audit", read, place, place), order);
    }
}
