//! Which period a renewal is for, when it may be charged, and at what price.

use billing::account::{AccountStatus, SkippedPeriod, renewal_at};
use billing::bill::BillStatus;
use billing::payment::PaymentState;
use billing::store::payments::{Begin, NewPayment};
use billing::store::subscriptions;
use chrono::{DateTime, Duration, Utc};

use crate::shop::{Shop, day, month, purchase, refused, took, year};
use crate::support::{at, hours, minutes, noon};
use crate::timetable::Timetable;

/// Where the month that was bought at noon on 10 March ends.
fn end() -> DateTime<Utc> {
    at("2026-04-10T09:00:00Z")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_charged_before_half_of_the_period_is_over_whatever_the_row_says() {
    for tariff in [day(), month(), year()] {
        let shop = Shop::open().await;
        let account = shop.subscribed(tariff, 1).await;
        let paid_until = shop.account_of(account).await.paid_until.unwrap();
        let half = paid_until - (paid_until - noon()) / 2;
        assert!(shop.account_of(account).await.next_charge_at.unwrap() >= half);
        shop.sql(&format!("update account set next_charge_at = '{}'", noon().to_rfc3339())).await.unwrap();
        assert_eq!(shop.open_due(noon()).await, [], "just paid");
        assert_eq!(shop.open_due(half - minutes(1)).await, []);
        assert_eq!(shop.open_due(half).await.len(), 1, "bounded, not ignored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_charged_once_each_a_day_apart() {
    let shop = Shop::open().await;
    let account = shop.subscribed(day(), 1).await;
    let mut timetable = Timetable::of(&shop);
    let mut transaction = 1;
    timetable
        .run(noon(), noon() + Duration::days(5), minutes(30), |payment| {
            transaction += 1;
            Some(took(payment, transaction))
        })
        .await;
    let charges = timetable.charges_of(account);
    assert_eq!(charges.len(), 5, "{charges:?}");
    assert!(charges.windows(2).all(|two| two[1] - two[0] == hours(24)), "{charges:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_one_period_is_charged_of_which_two_thirds_lie_ahead() {
    // The month of 10 March is paid. What is charged when nobody could be charged until then?
    for (back, expires_on, period_no, skipped) in [
        ("2026-04-10T10:00:00Z", "2026-05-10", 2, 0),
        ("2026-06-10T08:50:00Z", "2026-07-10", 4, 2), // ten minutes of the third are left
        ("2026-06-10T09:10:00Z", "2026-07-10", 4, 2),
        ("2026-06-20T08:00:00Z", "2026-07-10", 4, 2), // just two thirds
        ("2026-06-20T10:00:00Z", "2026-08-10", 5, 3),
        ("2026-07-10T08:50:00Z", "2026-08-10", 5, 3),
    ] {
        let shop = Shop::open().await;
        let account = shop.subscribed(month(), 1).await;
        let mut timetable = Timetable::of(&shop);
        timetable.run(at(back), at(back) + Duration::days(5), minutes(20), |p| Some(took(p, 2))).await;
        assert_eq!(timetable.charges_of(account), [at(back)], "one charge");
        let after = shop.account_of(account).await;
        assert_eq!((after.period_no, after.expires_on().unwrap().to_string()), (period_no, expires_on.to_owned()));
        assert!(after.access(at(back)).has_access, "what is left of the present period is a present");
        let said = shop.text("select skipped_periods from bill where kind = 'renewal'").await;
        assert_eq!(said.unwrap(), skipped.to_string(), "how many were not charged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timetable_that_was_down_for_three_days_charges_the_present_day_once_and_writes_down_those_before() {
    let shop = Shop::open().await;
    let account = shop.subscribed(day(), 1).await;
    let back = noon() + Duration::days(4) + hours(1);
    let mut timetable = Timetable::of(&shop);
    timetable.run(back, back + hours(2), minutes(20), |payment| Some(took(payment, 2))).await;
    assert_eq!(timetable.charges_of(account), [back]);

    let bills = subscriptions::bills(&mut *shop.conn().await, account, None, 10).await.unwrap().unwrap().rows;
    let [renewal, purchase] = &bills[..] else { panic!("{bills:?}") };
    let nth = |n: i32| SkippedPeriod {
        no: n + 1,
        begins_at: noon() + Duration::days(n.into()),
        ends_at: noon() + Duration::days((n + 1).into()),
    };
    assert_eq!((renewal.period_no, &renewal.skipped[..]), (5, &[nth(1), nth(2), nth(3)][..]));
    assert_eq!(purchase.skipped, []);
    let alone = subscriptions::bill(&mut *shop.conn().await, renewal.id).await.unwrap().unwrap();
    assert_eq!(alone, *renewal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_is_skipped_once_also_if_the_one_charged_instead_passes_too() {
    let shop = Shop::open().await;
    let account = shop.subscribed(day(), 1).await;
    let first = shop.open_due(noon() + Duration::days(4) + hours(1)).await[0];
    // Nobody sends it for two days.
    let late = noon() + Duration::days(6) + hours(1);
    assert!(matches!(shop.begin(first, late).await, Begin::NotNow(PaymentState::NotExecuted)));
    let second = shop.open_due(late + hours(1)).await[0];
    let bill = subscriptions::bill(&mut *shop.conn().await, shop.view(second).await.bill_id).await.unwrap().unwrap();
    let skipped: Vec<i32> = bill.skipped.iter().map(|period| period.no).collect();
    assert_eq!((bill.period_no, skipped), (7, vec![2, 3, 4, 5, 6]));
    assert_eq!(shop.count(&format!("skipped_period where account_id = '{account}'")).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_charged_late_and_the_next_one_are_hours_apart() {
    for minute in (0..24 * 60).step_by(45) {
        let shop = Shop::open().await;
        let account = shop.subscribed(day(), 1).await;
        let back = noon() + Duration::days(6) + minutes(minute);
        let mut timetable = Timetable::of(&shop);
        let mut transaction = 1;
        timetable
            .run(back, back + hours(24), minutes(45), |payment| {
                transaction += 1;
                Some(took(payment, transaction))
            })
            .await;
        let charges = timetable.charges_of(account);
        assert_eq!(charges[0], back);
        assert!(charges.windows(2).all(|two| two[1] - two[0] >= hours(4)), "{charges:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_debt_keeps_its_price_and_its_length_whoever_pays_it() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let first = shop.open_due(end()).await[0];
    shop.charge(first, refused(5051), end()).await;
    let later = "update tariff set amount = 49900, period = interval '3 months', currency = 'USD'";
    shop.sql(&format!("{later} where id = '{}'", month())).await.unwrap();

    let retry_at = end() + hours(29);
    let second = shop.view(shop.open_due(retry_at).await[0]).await;
    let first = shop.view(first).await;
    assert_eq!((second.bill_id, second.amount, second.currency), (first.bill_id, first.amount, first.currency));
    assert_eq!(shop.send(second.id, retry_at).await.amount.get(), 39_900);
    shop.apply(second.id, refused(5051), retry_at).await;

    let by_card = NewPayment { now: retry_at + hours(1), ..purchase(account) };
    let third = shop.create(by_card).await.unwrap().payment;
    assert_eq!((third.bill_id, third.amount), (first.bill_id, first.amount), "nor by the customer's own card");
    let paid = shop.charge(third.id, took(&third, 2), retry_at + hours(1)).await.payment;
    assert_eq!(paid.expires_on.unwrap().to_string(), "2026-05-10", "a month, as it was sold");

    // The next bill is a new one.
    let renewal = shop.open_due(at("2026-05-10T09:00:00Z")).await[0];
    assert_eq!(shop.view(renewal).await.amount.get(), 49_900);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_moved_forward_is_not_charged_at_its_old_retry_time() {
    for code in [5051, 5043] {
        let shop = Shop::open().await;
        let account = shop.subscribed(month(), 1).await;
        let renewal = shop.open_due(end()).await[0];
        shop.charge(renewal, refused(code), end()).await;
        shop.sql(&format!("update account set expiration_dt = '2026-04-24' where id = '{account}'")).await.unwrap();
        let moved = shop.account_of(account).await;
        assert_eq!((moved.status, moved.declines, moved.faults), (AccountStatus::Active, 0, 0));
        assert_eq!(moved.paid_until, Some(at("2026-04-24T09:00:00Z")));
        assert_eq!(moved.access_until, Some(at("2026-04-26T09:00:00Z")), "paid time and doubt, no grace");
        let then = renewal_at(account, at("2026-03-24T09:00:00Z"), at("2026-04-24T09:00:00Z"));
        assert_eq!(moved.next_charge_at, Some(then));
        assert_eq!(shop.open_due(end() + hours(29)).await, []);
        assert_eq!(shop.open_due(end() + Duration::days(9)).await, []);
        let due = shop.open_due(at("2026-04-23T21:00:00Z")).await;
        assert_eq!(due.len(), usize::from(code == 5051), "but a stolen card is never charged again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_moved_forward_while_its_renewal_waits_is_not_charged_for_it() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    let forward = format!("update account set expiration_dt = '2026-04-24' where id = '{account}'");
    shop.sql(&forward).await.unwrap();
    assert!(matches!(shop.begin(renewal, end()).await, Begin::NotNow(PaymentState::NotExecuted)));
    let view = shop.view(renewal).await;
    assert_eq!((view.bill_status, view.account_status), (BillStatus::NotPaid, AccountStatus::Active));
    let again = shop.open_due(at("2026-04-24T09:00:00Z")).await[0];
    assert_eq!(shop.view(again).await.bill_id, view.bill_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_a_charge_from_before_an_account_was_moved_forward_changes_nothing() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    shop.send(renewal, end()).await;
    let forward = format!("update account set expiration_dt = '2026-04-24' where id = '{account}'");
    shop.sql(&forward).await.unwrap();
    let moved = shop.account_of(account).await;
    shop.apply(renewal, refused(5051), end()).await;
    assert_eq!(shop.account_of(account).await, moved);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_called_off_and_moved_forward_stays_called_off() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let off = "cancel_at_period_end = true, next_charge_at = null, access_until = paid_until";
    shop.sql(&format!("update account set {off} where id = '{account}'")).await.unwrap();
    shop.sql(&format!("update account set expiration_dt = '2026-04-24' where id = '{account}'")).await.unwrap();
    let moved = shop.account_of(account).await;
    assert_eq!((moved.next_charge_at, moved.access_until), (None, moved.paid_until));
}
