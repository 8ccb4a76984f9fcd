//! A dearer tariff at once.

use billing::account::AccountStatus;
use billing::bill::{BillKind, BillStatus};
use billing::event::EventKind;
use billing::payment::{Outcome, PaymentState};
use billing::store::events;
use billing::store::payments::Begin;
use billing::store::subscriptions::{self, Preview, Request, Verb, VerbError, Written};
use billing::{AccountId, Kopecks, PaymentId, TariffId};
use chrono::{DateTime, Duration, Utc};

use crate::shop::{Shop, day, month, refused, took, unknown, year};
use crate::support::{at, hours, minutes};

/// Half of the month from noon of 10 March to noon of 10 April: 15 whole days of 31 are left.
fn later() -> DateTime<Utc> {
    at("2026-03-26T09:00:00Z")
}

/// 299000 − 39900 × 15 / 31.
const OWED: i64 = 279_694;

fn asked(account_id: AccountId, now: DateTime<Utc>) -> Request {
    Request { account_id, client: "frontend".into(), idempotency_key: uuid::Uuid::new_v4().to_string(), now }
}

async fn preview(shop: &Shop, account: AccountId, tariff: TariffId, now: DateTime<Utc>) -> Preview {
    subscriptions::preview_change(&mut *shop.conn().await, account, tariff, now).await.unwrap()
}

async fn change(shop: &Shop, request: &Request, tariff: TariffId, shown: i64) -> Result<Written, VerbError> {
    subscriptions::change_tariff_at_once(&mut *shop.conn().await, request, tariff, Kopecks::new(shown)).await
}

/// A month whose year was asked for, not sent yet.
async fn asked_for(shop: &Shop) -> (AccountId, PaymentId) {
    let account = shop.subscribed(month(), 1).await;
    let written = change(shop, &asked(account, later()), year(), OWED).await.unwrap();
    (account, written.subscription.open.unwrap().payment.unwrap().0.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_is_charged_and_a_new_term_begins_when_it_is_paid() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let shown = preview(&shop, account, year(), later()).await;
    assert_eq!(shown.at_once.unwrap().0.get(), OWED);
    assert_eq!(shown.next.unwrap().1.get(), 299_000);

    let request = asked(account, later());
    let written = change(&shop, &request, year(), OWED).await.unwrap();
    let payment = written.subscription.open.unwrap().payment.unwrap().0;
    assert_eq!((payment.kind, payment.amount.get()), (BillKind::Change, OWED));
    assert_eq!(shop.account_of(account).await.tariff_id, Some(month()), "not before it is paid");
    assert!(change(&shop, &request, year(), OWED).await.unwrap().replayed);
    assert!(matches!(change(&shop, &request, year(), OWED + 1).await, Err(VerbError::IdempotencyConflict)));

    let paid_at = later() + minutes(3);
    shop.charge(payment.id, took(&payment, 2), paid_at).await;
    let after = shop.account_of(account).await;
    assert_eq!((after.status, after.tariff_id, after.pending_tariff_id), (AccountStatus::Active, Some(year()), None));
    assert_eq!((after.term.unwrap().anchor_at, after.paid_until), (paid_at, Some(at("2027-03-26T09:03:00Z"))));
    assert_eq!(shop.open_due(at("2026-04-10T09:00:00Z")).await, [], "the old month is not renewed");
    let story = events::story_of_account(&mut *shop.conn().await, account, None, 100).await.unwrap();
    assert_eq!(story.iter().filter(|event| event.kind == EventKind::TariffChanged).count(), 1);
    let renewal = shop.open_due(at("2027-03-26T09:00:00Z")).await[0];
    assert_eq!(shop.view(renewal).await.amount.get(), 299_000, "the next year costs all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_declined_or_in_doubt_leaves_everything_as_it_is() {
    for outcome in [refused(5051), refused(5043), Outcome::Rejected { message: "Amount is required".into() }] {
        let shop = Shop::open().await;
        let (account, payment) = asked_for(&shop).await;
        let before = shop.account_of(account).await;
        shop.charge(payment, outcome, later()).await;
        assert_eq!(shop.account_of(account).await, before, "no dunning, no other date");
        assert_eq!(shop.view(payment).await.bill_status, BillStatus::Void, "and no debt");
        let story = events::story_of_account(&mut *shop.conn().await, account, None, 100).await.unwrap();
        assert!(story.iter().all(|event| event.kind != EventKind::RenewalRefused));
        assert_eq!(shop.open_due(at("2026-04-10T08:00:00Z")).await.len(), 1, "the month is renewed in its time");
    }
    let shop = Shop::open().await;
    let (account, payment) = asked_for(&shop).await;
    let before = shop.account_of(account).await;
    shop.charge(payment, unknown(later()), later()).await;
    assert_eq!(shop.account_of(account).await, before);
    assert_eq!(shop.open_due(at("2026-04-10T08:00:00Z")).await, [], "nothing beside a charge in doubt");
    let view = shop.view(payment).await;
    shop.apply(payment, took(&view, 2), later() + hours(2)).await;
    assert_eq!(shop.account_of(account).await.tariff_id, Some(year()), "the answer that came late counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_after_its_refusal_is_owed_back() {
    let shop = Shop::open().await;
    let (account, payment) = asked_for(&shop).await;
    shop.charge(payment, refused(5051), later()).await;
    let view = shop.view(payment).await;
    shop.apply(payment, took(&view, 2), later() + hours(1)).await;
    assert_eq!(shop.state(payment).await, PaymentState::SucceededDuplicate);
    assert_eq!(shop.account_of(account).await.tariff_id, Some(month()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waited_is_taken_back_and_so_is_one_of_who_cancels_or_forgets_the_card() {
    let shop = Shop::open().await;
    let (account, payment) = asked_for(&shop).await;
    let before = shop.account_of(account).await;
    assert!(matches!(shop.begin(payment, later() + minutes(31)).await, Begin::NotNow(PaymentState::NotExecuted)));
    assert_eq!(shop.view(payment).await.bill_status, BillStatus::Void);
    assert_eq!(shop.account_of(account).await, before);
    for verb in [Verb::Cancel, Verb::ForgetCard] {
        let (account, planned) = (shop.subscribed(month(), 100 + verb as i64).await, later());
        let next = shop.account_of(account).await.next_charge_at;
        let written = change(&shop, &asked(account, planned), year(), OWED).await.unwrap();
        let payment = written.subscription.open.unwrap().payment.unwrap().0.id;
        subscriptions::perform(&mut *shop.conn().await, &asked(account, planned), verb).await.unwrap();
        let view = shop.view(payment).await;
        assert_eq!((view.state, view.bill_status), (PaymentState::NotExecuted, BillStatus::Void), "{verb:?}");
        if verb == Verb::ForgetCard {
            assert_eq!(shop.account_of(account).await.next_charge_at, next, "nothing falls due earlier");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_stays_when_the_change_that_was_sent_succeeds_after_it() {
    let shop = Shop::open().await;
    let (account, payment) = asked_for(&shop).await;
    shop.charge(payment, unknown(later()), later()).await;
    subscriptions::perform(&mut *shop.conn().await, &asked(account, later()), Verb::Cancel).await.unwrap();
    let view = shop.view(payment).await;
    shop.apply(payment, took(&view, 2), later() + minutes(20)).await;
    let after = shop.account_of(account).await;
    assert_eq!((after.tariff_id, after.cancel_at_period_end), (Some(year()), true));
    assert_eq!((after.next_charge_at, after.access_until), (None, after.paid_until));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_reason_and_writes_nothing() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let now = later();
    let refused_with = async |tariff, shown, now| change(&shop, &asked(account, now), tariff, shown).await.unwrap_err();
    let before = shop.everything().await;
    let amount = Kopecks::new(OWED);
    let error = refused_with(year(), OWED - 1, now).await;
    assert!(matches!(error, VerbError::PreviewChanged { amount: now } if now == amount), "{error:?}");
    assert!(
        matches!(refused_with(year(), OWED, now + minutes(1)).await, VerbError::PreviewChanged { .. }),
        "a day less"
    );
    assert!(matches!(refused_with(month(), 1, now).await, VerbError::SameTariff));
    assert!(matches!(refused_with(day(), 1, now).await, VerbError::NotUpwards));
    assert!(matches!(preview(&shop, account, day(), now).await.at_once, Err(VerbError::NotUpwards)));
    assert!(matches!(refused_with(TariffId::new(), 1, now).await, VerbError::UnknownTariff(_)));
    assert_eq!(shop.everything().await, before);

    shop.sql("update bill set status = 'Partially refunded'").await.unwrap();
    assert!(matches!(refused_with(year(), OWED, now).await, VerbError::PartiallyRefunded));
    shop.sql("update bill set status = 'Paid'").await.unwrap();

    let renewal = shop.open_due(at("2026-04-10T08:00:00Z")).await[0];
    let due = at("2026-04-10T08:00:00Z");
    assert!(matches!(refused_with(year(), OWED, due).await, VerbError::RenewalInProgress), "it is being charged");
    shop.charge(renewal, refused(5051), due).await;
    assert!(matches!(refused_with(year(), OWED, due).await, VerbError::RenewalInProgress), "it is owed");

    let other = shop.subscribed(month(), 11).await;
    change(&shop, &asked(other, now), year(), OWED).await.unwrap();
    let error = change(&shop, &asked(other, now), year(), OWED).await.unwrap_err();
    assert!(matches!(error, VerbError::ChangeInProgress));
    let next = subscriptions::change_tariff(&mut *shop.conn().await, &asked(other, now), day()).await.unwrap_err();
    assert!(matches!(next, VerbError::ChangeInProgress));

    let without_card = shop.subscribed(month(), 12).await;
    subscriptions::perform(&mut *shop.conn().await, &asked(without_card, now), Verb::ForgetCard).await.unwrap();
    assert!(matches!(change(&shop, &asked(without_card, now), year(), OWED).await, Err(VerbError::NoCard)));
    assert!(matches!(
        change(&shop, &asked(shop.account().await, now), year(), OWED).await,
        Err(VerbError::NoSubscription)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_not_charged_a_third_time_within_a_day() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    for _ in 0..2 {
        let written = change(&shop, &asked(account, later()), year(), OWED).await.unwrap();
        let payment = written.subscription.open.unwrap().payment.unwrap().0.id;
        shop.charge(payment, refused(5051), later()).await;
    }
    let error = change(&shop, &asked(account, later()), year(), OWED).await.unwrap_err();
    let VerbError::ChargedTooOften { until } = error else { panic!("{error:?}") };
    assert!(until > later() + Duration::hours(23), "{until}");
    let shown = preview(&shop, account, year(), until + Duration::days(1)).await.at_once.unwrap().0;
    change(&shop, &asked(account, until + Duration::days(1)), year(), shown.get()).await.expect("later it may be");
}
