//! Renewals: what is due is opened once, charged by the kept card, and retried by the rules.

use billing::AccountId;
use billing::account::{AccountStatus, renewal_at};
use billing::bill::{BillKind, BillStatus};
use billing::payment::{Instrument, Outcome, PaymentState};
use billing::store::payments::{Begin, ChargeInstrument, Effect, NewPayment};
use billing::store::{accounts, renewals};
use chrono::{DateTime, Duration, Utc};
use secrecy::ExposeSecret;

use crate::shop::{Shop, day, month, purchase, refused, took, unknown};
use crate::support::{at, hours, minutes};

/// A month bought at noon on 10 March ends at noon on 10 April. Twelve hours before, who is charged early is due.
fn due() -> DateTime<Utc> {
    at("2026-04-09T21:00:00Z")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_opened_at_the_accounts_own_time_in_the_day_before_the_end() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let end = at("2026-04-10T09:00:00Z");
    let due = shop.account_of(account).await.next_charge_at.unwrap();
    assert_eq!(due, renewal_at(account, at("2026-03-10T09:00:00Z"), end));
    assert!(end - hours(24) <= due && due < end - hours(23), "{due}");
    assert_eq!(shop.open_due(due - minutes(1)).await, []);
    let [renewal] = shop.open_due(due).await[..] else { panic!("it is due") };
    let view = shop.view(renewal).await;
    assert_eq!((view.kind, view.instrument, view.state), (BillKind::Renewal, Instrument::Token, PaymentState::Created));
    assert_eq!((view.amount.get(), view.bill_status), (39_900, BillStatus::InWork));
    let kind = shop.text(&format!("select payment_type || period_no from bill where id = '{}'", view.bill_id)).await;
    assert_eq!(kind.unwrap(), "TOKEN2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_charges_the_kept_token_and_extends_the_account() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(due()).await[0];
    let order = shop.send(renewal, due()).await;
    assert_eq!((order.account_id, order.ip_address), (account, None));
    assert!(matches!(order.instrument, ChargeInstrument::Token(token) if token.expose_secret() == "tk_1"));
    let paid = shop.apply(renewal, took(&shop.view(renewal).await, 2), due()).await.payment;
    assert_eq!((paid.state, paid.expires_on.unwrap().to_string()), (PaymentState::Succeeded, "2026-05-10".into()));
    let next = shop.account_of(account).await;
    let then = renewal_at(account, at("2026-04-10T09:00:00Z"), at("2026-05-10T09:00:00Z"));
    assert_eq!((next.period_no, next.next_charge_at), (2, Some(then)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timetable_may_fire_twice() {
    let shop = Shop::open().await;
    shop.subscribed(month(), 1).await;
    assert_eq!(shop.open_due(due()).await.len(), 1);
    for _ in 0..3 {
        assert_eq!(shop.open_due(due() + hours(1)).await, []);
    }
    assert_eq!(shop.count("bill where kind = 'renewal'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_day_is_made_up_for_and_only_the_present_period_charged() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let back = due() + Duration::days(70);
    let renewal = shop.open_due(back).await[0];
    assert_eq!(shop.count("bill where kind = 'renewal'").await, 1);
    let paid = shop.charge(renewal, took(&shop.view(renewal).await, 2), back).await.payment;
    assert_eq!(paid.expires_on.unwrap().to_string(), "2026-07-10", "the anchor is kept");
    assert_eq!(shop.account_of(account).await.period_no, 4);
    assert_eq!(shop.open_due(back).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_refusal_is_tried_again_on_the_same_bill() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let first = shop.open_due(due()).await[0];
    let applied = shop.charge(first, refused(5051), due()).await;
    let retry_at = due() + hours(29);
    assert_eq!(applied.effects, [Effect::RenewalRefused { account_id: account, retry_at: Some(retry_at) }]);
    assert_eq!(applied.payment.account_status, AccountStatus::Overdue);
    assert!(shop.account_of(account).await.access(retry_at).has_access, "grace");

    assert_eq!(shop.open_due(retry_at - minutes(1)).await, [], "not before it is planned");
    let second = shop.open_due(retry_at).await[0];
    let (before, view) = (shop.view(first).await, shop.view(second).await);
    assert_eq!((view.bill_id, view.state), (before.bill_id, PaymentState::Created));
    assert_ne!((view.invoice_no, view.request_id), (before.invoice_no, before.request_id));
    let paid = shop.charge(second, took(&shop.view(second).await, 2), retry_at).await.payment;
    assert_eq!(
        (paid.account_status, paid.expires_on.unwrap().to_string()),
        (AccountStatus::Active, "2026-05-10".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_refusal_ends_in_cancellation_when_grace_is_over() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(due()).await[0];
    shop.charge(renewal, refused(5043), due()).await;
    let end = shop.account_of(account).await.access_until.unwrap();
    assert_eq!(end, at("2026-04-10T09:00:00Z") + Duration::days(7), "counted from the end of the paid time");
    assert_eq!(shop.open_due(end).await, [], "a stolen card is never charged again");

    let close = async |now| accounts::close_run_out(&mut *shop.conn().await, now, 10).await.unwrap();
    assert_eq!(close(end - minutes(1)).await, []);
    assert_eq!(close(end).await, [account]);
    assert_eq!(close(end).await, []);
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Canceled);
    assert_eq!(shop.view(renewal).await.bill_status, BillStatus::Uncollectible);

    let back = shop.create(NewPayment { now: end, ..purchase(account) }).await.unwrap().payment;
    assert_eq!(back.kind, BillKind::Primary);
    let paid = shop.charge(back.id, took(&back, 3), end).await.payment;
    assert_eq!(paid.expires_on.unwrap().to_string(), "2026-05-17", "a new term");
    assert_eq!(shop.account_of(account).await.period_no, 3, "in the same series");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_success_pays_even_what_was_given_up() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(due()).await[0];
    shop.charge(renewal, refused(5043), due()).await;
    let end = shop.account_of(account).await.access_until.unwrap();
    accounts::close_run_out(&mut *shop.conn().await, end, 10).await.unwrap();
    let late = shop.apply(renewal, took(&shop.view(renewal).await, 2), end + hours(1)).await.payment;
    assert_eq!((late.state, late.bill_status), (PaymentState::Succeeded, BillStatus::Paid));
    assert_eq!(late.account_status, AccountStatus::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn doubt_about_a_renewal_closes_nobody() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(due()).await[0];
    shop.charge(renewal, unknown(due()), due()).await;
    let close = async |now| accounts::close_run_out(&mut *shop.conn().await, now, 10).await.unwrap();
    let paid_until = at("2026-04-10T09:00:00Z");
    assert_eq!(close(paid_until + hours(47)).await, []);
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Active);
    assert_eq!(close(paid_until + hours(48)).await, []);
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Overdue);
    assert_eq!(close(paid_until + Duration::days(30)).await, [], "while it may still turn out to be paid");
    assert_eq!(shop.open_due(paid_until + Duration::days(30)).await, [], "and nothing else is charged");
    let found = shop.apply(renewal, took(&shop.view(renewal).await, 2), paid_until + Duration::days(30)).await;
    assert_eq!(found.payment.account_status, AccountStatus::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_not_executed_is_opened_again_and_punishes_nobody() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let first = shop.open_due(due()).await[0];
    let rejected = shop.charge(first, Outcome::Rejected { message: "?".into() }, due()).await.payment;
    assert_eq!(rejected.account_status, AccountStatus::Active);
    let second = shop.open_due(due() + hours(1)).await[0];
    assert_eq!(shop.view(second).await.bill_id, rejected.bill_id);
    assert_eq!(shop.account_of(account).await.declines, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_card_owes_the_renewal_and_is_not_charged() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    shop.sql(&format!("update account set payment_token = null where id = '{account}'")).await.unwrap();
    assert_eq!(shop.open_due(due()).await, []);
    let after = shop.account_of(account).await;
    assert_eq!((after.status, after.next_charge_at), (AccountStatus::Overdue, None));
    assert_eq!(shop.count("bill where kind = 'renewal' and status = 'Not paid'").await, 1);
    let new = shop.create(NewPayment { now: due(), ..purchase(account) }).await.unwrap().payment;
    assert_eq!(new.kind, BillKind::Renewal, "any card pays it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_look_withdraws_what_need_not_be_charged_any_more() {
    let shop = Shop::open().await;
    let not_sent = async |account: AccountId, change: &str| {
        let now = shop.account_of(account).await.paid_until.unwrap();
        let renewal = shop.open_due(now).await[0];
        shop.sql(&format!("update account set {change} where id = '{account}'")).await.unwrap();
        assert!(matches!(shop.begin(renewal, now).await, Begin::NotNow(PaymentState::NotExecuted)), "{change}");
        shop.view(renewal).await.bill_status
    };
    let called_off = not_sent(shop.subscribed(month(), 1).await, "cancel_at_period_end = true").await;
    assert_eq!(called_off, BillStatus::Void);
    let closed = not_sent(shop.subscribed(month(), 2).await, "status = 'Canceled'").await;
    assert_eq!(closed, BillStatus::Void);
    let paid = not_sent(shop.subscribed(month(), 3).await, "period_no = 2").await;
    assert_eq!(paid, BillStatus::Void);
    let forgotten = shop.subscribed(month(), 4).await;
    let owed = not_sent(forgotten, "payment_token = null").await;
    assert_eq!(owed, BillStatus::NotPaid);
    assert_eq!(shop.account_of(forgotten).await.status, AccountStatus::Overdue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_is_just_paying_is_not_charged_beside_it() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let first = shop.open_due(due()).await[0];
    shop.charge(first, refused(5051), due()).await;
    let retry_at = due() + hours(29);
    let new = shop.create(NewPayment { now: retry_at, ..purchase(account) }).await.unwrap().payment;
    assert_eq!(shop.open_due(retry_at).await, []);
    shop.charge(new.id, refused(5082), retry_at).await;
    assert_eq!(shop.account_of(account).await.declines, 1, "a mistyped card is no refusal of the kept one");
    assert_eq!(shop.open_due(retry_at + hours(1)).await.len(), 1, "then the kept card has its try");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_that_is_over_is_not_collected_any_more() {
    let shop = Shop::open().await;
    let account = shop.subscribed(day(), 1).await;
    let due = shop.account_of(account).await.paid_until.unwrap();
    let first = shop.open_due(due).await[0];
    shop.charge(first, refused(5051), due).await;
    let retry_at = due + hours(29);
    let second = shop.open_due(retry_at).await[0];
    assert_eq!(shop.view(first).await.bill_status, BillStatus::Void);
    let paid = shop.charge(second, took(&shop.view(second).await, 2), retry_at).await.payment;
    assert_eq!(paid.expires_on.unwrap().to_string(), "2026-03-13", "paid on the 12th, for the 12th");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_price_holds_from_the_next_renewal() {
    let shop = Shop::open().await;
    shop.subscribed(month(), 1).await;
    shop.sql("update tariff set amount = 49900").await.unwrap();
    let renewal = shop.open_due(due()).await[0];
    assert_eq!(shop.view(renewal).await.amount.get(), 49_900);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiration_moved_by_hand_moves_what_follows_from_it() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let moved = async |day: &str| {
        shop.sql(&format!("update account set expiration_dt = '{day}' where id = '{account}'")).await.unwrap();
        shop.account_of(account).await
    };
    let longer = moved("2026-04-17").await;
    assert_eq!(longer.paid_until, Some(at("2026-04-17T09:00:00Z")));
    let then = renewal_at(account, at("2026-03-17T09:00:00Z"), at("2026-04-17T09:00:00Z"));
    assert_eq!(longer.next_charge_at, Some(then));
    assert!(longer.access(at("2026-04-18T00:00:00Z")).has_access);
    assert_eq!(shop.open_due(due()).await, [], "not yet");

    moved("2026-03-12").await;
    let renewal = shop.open_due(at("2026-03-17T12:00:00Z")).await[0];
    let paid = shop.charge(renewal, took(&shop.view(renewal).await, 2), at("2026-03-17T12:00:00Z")).await.payment;
    assert_eq!(paid.expires_on.unwrap().to_string(), "2026-04-12", "counted from where it was moved to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tariff_no_longer_sold_is_still_renewed_and_paid_by_who_has_it() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    shop.sql("update tariff set is_active = false").await.unwrap();
    let renewal = shop.open_due(due()).await[0];
    shop.charge(renewal, refused(5043), due()).await;
    let new = shop.create(NewPayment { now: due(), ..purchase(account) }).await.unwrap().payment;
    assert_eq!(new.bill_id, shop.view(renewal).await.bill_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_contradicts_itself_keeps_nobody_else_from_being_renewed() {
    let shop = Shop::open().await;
    let broken = shop.subscribed(month(), 1).await;
    let sound = shop.subscribed(month(), 2).await;
    shop.sql(&format!("update account set tariff_id = null where id = '{broken}'")).await.unwrap();
    let [renewal] = shop.open_due(due()).await[..] else { panic!("one can be renewed") };
    assert_eq!(shop.view(renewal).await.account_id, sound);
    assert_eq!(shop.account_of(broken).await.next_charge_at, None, "set aside, not asked again and again");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_due_accounts_are_opened_chunk_by_chunk() {
    let shop = Shop::open().await;
    let accounts = 25;
    for n in 0..accounts {
        shop.subscribed(month(), n + 1).await;
    }
    let mut payments = Vec::new();
    let mut chunks = 0;
    loop {
        let opened = renewals::open_due(&mut *shop.conn().await, due(), 10).await.unwrap();
        payments.extend(opened.payments);
        chunks += 1;
        if opened.accounts < 10 {
            break;
        }
    }
    assert_eq!((payments.len(), chunks), (25, 3));
    assert_eq!(shop.count("bill where kind = 'renewal' and status = 'In work'").await, accounts);
}
