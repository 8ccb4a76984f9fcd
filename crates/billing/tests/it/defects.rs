//! What the system this one replaces did wrong. Each was seen in it; none may come back.

use std::time::Duration;

use billing::PaymentId;
use billing::account::AccountStatus;
use billing::bill::{BillKind, BillStatus};
use billing::payment::{Outcome, PaymentState};
use billing::store::payments::{self, Begin, ChargeInstrument};
use billing::tasks::{ChargePayment, ChargeRenewal};
use secrecy::ExposeSecret;

use crate::shop::{Shop, day, month, page, purchase, refused, took, unknown, year};
use crate::support::{at, hours, minutes, noon};

#[tokio::test(flavor = "multi_thread")]
async fn defect_01_the_task_was_sent_before_the_row_was_there() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    // `create` returns after its commit: another connection sees the row at once, and so does any worker.
    let mut other = billing::db::Db::connect(shop.database.url(), 1).await.unwrap().conn().await.unwrap();
    assert!(payments::get(&mut other, payment.id).await.unwrap().is_some());
    // And should the message be lost in between, the row itself says that it waits.
    let later = noon() + minutes(1);
    assert_eq!(payments::stranded(&mut *shop.conn().await, later, later, true, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_02_a_bill_in_work_was_believed_whatever_its_state() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, refused(5051), noon()).await;
    for _ in 0..3 {
        assert!(matches!(shop.begin(payment.id, noon()).await, Begin::NotNow(PaymentState::Declined)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_03_a_timeout_was_a_failure_and_was_charged_again() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let due = shop.account_of(account).await.paid_until.unwrap();
    let renewal = shop.open_due(due).await[0];
    let order = shop.send(renewal, due).await;
    assert!(!order.request_id.is_empty() && order.invoice_no > 0, "the gateway can be asked for it");
    shop.apply(renewal, unknown(due), due).await;
    for days in 1..=10 {
        assert_eq!(shop.open_due(due + chrono::Duration::days(days)).await, [], "doubt is not failure");
    }
    assert_eq!(shop.count("payment where instrument = 'token'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_04_a_crash_left_the_bill_in_work_and_the_next_run_made_a_second() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let due = shop.account_of(account).await.paid_until.unwrap();
    let renewal = shop.open_due(due).await[0];
    shop.send(renewal, due).await; // … and the worker dies here.
    assert_eq!(shop.open_due(due + hours(24)).await, []);
    assert_eq!(shop.count("bill where kind = 'renewal'").await, 1);
    let later = due + minutes(10);
    let looks = payments::unresolved(&mut *shop.conn().await, due, later, 10).await.unwrap();
    assert_eq!(looks.iter().map(|look| look.payment_id).collect::<Vec<_>>(), [renewal]);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_05_the_token_was_saved_where_renewals_did_not_look() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1_234).await;
    let due = shop.account_of(account).await.paid_until.unwrap();
    let order = shop.send(shop.open_due(due).await[0], due).await;
    assert!(matches!(order.instrument, ChargeInstrument::Token(token) if token.expose_secret() == "tk_1234"));
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_06_a_first_purchase_had_no_expiration() {
    let shop = Shop::open().await;
    for (n, tariff) in [day(), month(), year()].into_iter().enumerate() {
        let account = shop.subscribed(tariff, i64::try_from(n).unwrap()).await;
        assert!(shop.account_of(account).await.expires_on().is_some());
    }
    assert_eq!(shop.count("account where expiration_dt is null").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_07_a_month_had_28_days_and_dates_no_zone() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    // Half past midnight on 31 January in Moscow; in UTC it is still the 30th.
    let now = at("2026-01-30T21:30:00Z");
    let payment = shop.create(payments::NewPayment { now, ..purchase(account) }).await.unwrap().payment;
    let mut paid = shop.charge(payment.id, took(&payment, 1), now).await.payment;
    let mut ends = vec![paid.expires_on.unwrap().to_string()];
    for transaction_id in 2..=13 {
        let due = shop.account_of(account).await.paid_until.unwrap() - hours(1);
        let renewal = shop.open_due(due).await[0];
        paid = shop.charge(renewal, took(&shop.view(renewal).await, transaction_id), due).await.payment;
        ends.push(paid.expires_on.unwrap().to_string());
    }
    let vector = crate::periods::vectors().remove(0);
    let expected: Vec<_> = vector.anchored_correct.iter().map(ToString::to_string).collect();
    assert_eq!(ends, expected, "12 charges a year, always on the 31st or the last day");
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_08_a_missed_day_was_missed_for_ever() {
    let shop = Shop::open().await;
    shop.subscribed(month(), 1).await;
    let five_days_late = at("2026-04-15T12:00:00Z");
    assert_eq!(shop.open_due(five_days_late).await.len(), 1);
    assert_eq!(shop.open_due(five_days_late).await, [], "and twice is once");
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_09_every_refusal_was_tried_again_every_day() {
    let shop = Shop::open().await;
    let (stolen, poor) = (shop.subscribed(month(), 1).await, shop.subscribed(month(), 2).await);
    let due = shop.account_of(stolen).await.paid_until.unwrap();
    for renewal in shop.open_due(due).await {
        let code = if shop.view(renewal).await.account_id == stolen { 5043 } else { 5051 };
        shop.charge(renewal, refused(code), due).await;
    }
    let tries = |account| shop.account_of(account);
    assert_eq!(tries(stolen).await.next_charge_at, None);
    assert_eq!(tries(poor).await.next_charge_at, Some(due + hours(29)));
    assert_eq!(tries(stolen).await.status, AccountStatus::Overdue);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_10_a_bank_page_was_a_failure_without_a_transaction_and_money_was_whole_roubles() {
    let shop = Shop::open().await;
    shop.sql("update tariff set amount = 39999").await.unwrap();
    let payment = shop.created().await;
    assert_eq!(payment.amount.in_currency(payment.currency).to_string(), "399.99 RUB");
    let asked = shop.charge(payment.id, page(), noon()).await.payment;
    assert_eq!((asked.state, asked.bill_status), (PaymentState::AwaitingThreeDs, BillStatus::InWork));
    assert!(asked.transaction_id.is_some());
    let verdict = shop.text(&format!("select is_success from payment where id = '{}'", payment.id)).await;
    assert_eq!(verdict, None, "undecided is neither");
    let deleted = shop.sql("delete from tariff").await;
    assert!(deleted.is_err(), "history keeps what it refers to");
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_11_cryptograms_and_answers_were_kept() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    shop.answer(payment.id, noon()).await;
    shop.post(payment.id, noon()).await;
    shop.apply(payment.id, took(&payment, crate::support::sample::TRANSACTION), noon()).await;
    let declined = shop.created().await;
    shop.charge(declined.id, refused(5051), noon()).await;
    let rejected = shop.created().await;
    shop.charge(rejected.id, Outcome::Rejected { message: "?".into() }, noon()).await;
    let kept = "bill where card_cryptogram_packet is not null or pa_res is not null";
    assert_eq!(shop.count(kept).await, 0);
    assert_eq!(shop.count("payment where pa_req is not null or acs_url is not null").await, 0);
}

#[test]
fn defect_12_a_task_did_not_carry_its_argument() {
    let payment_id = PaymentId::new();
    let json = serde_json::to_value(ChargePayment { payment_id }).unwrap();
    assert_eq!(json, serde_json::json!({ "payment_id": payment_id.to_string() }));
    assert_eq!(serde_json::from_value::<ChargeRenewal>(json).unwrap(), ChargeRenewal { payment_id });
}

/// All of it told three times, from the first purchase to the second month: nothing is charged or extended twice.
#[tokio::test(flavor = "multi_thread")]
async fn delivering_everything_three_times_charges_nobody_twice() {
    let shop = Shop::open().await;
    let new = purchase(shop.account().await);
    let mut sent = 0;
    for _ in 0..3 {
        let payment = shop.create(new.clone()).await.unwrap().payment;
        for _ in 0..3 {
            if matches!(shop.begin(payment.id, noon()).await, Begin::Send(_)) {
                sent += 1;
            }
            if shop.state(payment.id).await != PaymentState::Created {
                shop.apply(payment.id, took(&payment, 1), noon()).await;
            }
        }
    }
    let due = shop.account_of(new.account_id).await.paid_until.unwrap();
    let renewals = [shop.open_due(due).await, shop.open_due(due).await, shop.open_due(due).await].concat();
    for renewal in renewals.iter().cycle().take(3) {
        if matches!(shop.begin(*renewal, due).await, Begin::Send(_)) {
            sent += 1;
        }
        shop.apply(*renewal, took(&shop.view(*renewal).await, 2), due).await;
    }
    assert_eq!((sent, renewals.len()), (2, 1));
    let account = shop.account_of(new.account_id).await;
    assert_eq!((account.period_no, account.expires_on().unwrap().to_string()), (2, "2026-05-10".into()));
    assert_eq!(shop.count("payment").await, 2);
    assert_eq!(shop.view(renewals[0]).await.kind, BillKind::Renewal);
    // Nothing of it is left over for anybody to turn to.
    tokio::time::timeout(Duration::from_secs(10), async {
        let mut conn = shop.conn().await;
        assert_eq!(payments::stranded(&mut conn, due, due, true, 10).await.unwrap(), []);
        assert_eq!(payments::unresolved(&mut conn, due, due, 10).await.unwrap(), []);
    })
    .await
    .unwrap();
}
