//! C29: which refusal is tried again, and when: attempts at the documented times only, and no more than two in 24 hours.

use billing::AccountId;
use billing::account::AccountStatus;
use billing::bill::BillStatus;
use billing::event::EventKind;
use billing::payment::Outcome;
use billing::store::events;
use billing::store::payments::NewPayment;
use chrono::{DateTime, Duration, Utc};

use crate::shop::{Shop, month, purchase, refused, took};
use crate::support::{at, hours, minutes};
use crate::timetable::Timetable;

/// Where the month that was bought at noon on 10 March ends.
fn end() -> DateTime<Utc> {
    at("2026-04-10T09:00:00Z")
}

/// A refusal that the gateway wants repeated no sooner than then.
fn not_before(code: i32, at: DateTime<Utc>) -> Outcome {
    match refused(code) {
        Outcome::Declined { transaction_id, code, reason, cardholder_message, .. } => {
            Outcome::Declined { transaction_id, code, reason, cardholder_message, retry_after: Some(at) }
        }
        other => other,
    }
}

/// The subscription after these answers in turn, and money from then on; and when it was charged, in hours after the first.
async fn after(answers: Vec<Outcome>) -> (Shop, AccountId, Vec<i64>) {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let mut answers = answers.into_iter();
    let mut transaction = 100;
    let mut timetable = Timetable::of(&shop);
    timetable
        .run(end() - Duration::days(2), end() + Duration::days(9), minutes(30), |payment| {
            transaction += 1;
            Some(answers.next().unwrap_or_else(|| took(payment, transaction)))
        })
        .await;
    timetable.assert_cards_are_left_alone();
    let charges = timetable.charges_of(account);
    let hours = charges.iter().map(|at| (*at - charges[0]).num_hours()).collect();
    (shop, account, hours)
}

async fn is_paid(shop: &Shop, account: AccountId) {
    let paid = shop.account_of(account).await;
    assert_eq!((paid.status, paid.period_no, paid.declines), (AccountStatus::Active, 2, 0));
    assert_eq!(paid.paid_until, Some(at("2026-05-10T09:00:00Z")), "the anchor is kept");
}

async fn is_over(shop: &Shop, account: AccountId) {
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Canceled);
    assert_eq!(shop.count("bill where status = 'Uncollectible'").await, 1);
    let story = events::story_of_account(&mut *shop.conn().await, account, None, 100).await.unwrap();
    assert_eq!(story.iter().filter(|event| event.kind == EventKind::AccessEnded).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c29_5051_four_times_and_then_money() {
    let (shop, account, charges) = after(vec![refused(5051); 4]).await;
    assert_eq!(charges, [0, 29, 72, 120, 164]);
    is_paid(&shop, account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c29_5051_to_the_end() {
    let (shop, account, charges) = after(vec![refused(5051); 9]).await;
    assert_eq!(charges, [0, 29, 72, 120, 164]);
    is_over(&shop, account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c29_5043_once() {
    let (shop, account, charges) = after(vec![refused(5043)]).await;
    assert_eq!(charges, [0], "none after a hard code");
    is_over(&shop, account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c29_5091_and_then_5051() {
    let (shop, account, charges) = after(vec![refused(5091), refused(5051)]).await;
    assert_eq!(charges, [0, 2, 72]);
    is_paid(&shop, account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c29_retry_after_forty_hours() {
    // The first tick within the window, which is a day.
    let first = end() - hours(24) + minutes(30);
    let (shop, account, charges) = after(vec![not_before(5051, first + hours(40))]).await;
    assert_eq!(charges, [0, 40]);
    is_paid(&shop, account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c29_retry_after_beyond_the_grace() {
    let (shop, account, charges) = after(vec![not_before(5051, end() + Duration::days(8))]).await;
    assert_eq!(charges, [0]);
    is_over(&shop, account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c29_the_customer_pays_in_between() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let mut timetable = Timetable::of(&shop);
    let refuse = |_: &_| Some(refused(5051));
    timetable.run(end() - Duration::days(2), end() + hours(12), minutes(30), refuse).await;
    assert_eq!(timetable.charges_of(account).len(), 2);
    let now = end() + hours(13);
    let new = shop.create(NewPayment { now, ..purchase(account) }).await.unwrap().payment;
    assert_eq!(new.bill_status, BillStatus::InWork);
    shop.charge(new.id, took(&new, 77), now).await;
    is_paid(&shop, account).await;
    timetable.run(now, end() + Duration::days(9), minutes(30), refuse).await;
    assert_eq!(timetable.charges_of(account).len(), 2, "the tries that were left are dropped");
}
