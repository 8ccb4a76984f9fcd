//! What subscribers are told beforehand, each of it once.

use billing::account::AccountStatus;
use billing::event::{Event, EventKind};
use billing::models::TariffPrice;
use billing::payment::{CardMask, Outcome, PaymentState};
use billing::store::payments::Begin;
use billing::store::subscriptions::{self, Request};
use billing::store::{announcements, events, tariffs};
use billing::{AccountId, Currency, Kopecks};
use chrono::{DateTime, Duration, TimeDelta, Utc};

use crate::shop::{Shop, day, month, purchase, took, year};
use crate::support::{at, hours, minutes, noon};

const DAYS_3: TimeDelta = TimeDelta::days(3);

async fn tells(shop: &Shop, now: DateTime<Utc>) -> usize {
    announcements::renewals(&mut *shop.conn().await, DAYS_3, now, 100).await.unwrap()
}

async fn told(shop: &Shop, account: AccountId, kind: EventKind) -> Vec<Event> {
    let story = events::story_of_account(&mut *shop.conn().await, account, None, 100).await.unwrap();
    story.into_iter().rev().filter(|event| event.kind == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_announced_once_for_each_period_with_the_amount_that_is_charged() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let charged_at = shop.account_of(account).await.next_charge_at.unwrap();
    assert_eq!(tells(&shop, charged_at - DAYS_3 - minutes(1)).await, 0);
    let now = charged_at - DAYS_3;
    let first = async { tells(&shop, now).await };
    let second = async { tells(&shop, now).await };
    let third = async { tells(&shop, now).await };
    let (first, second, third) = tokio::join!(first, second, third);
    assert_eq!(first + second + third, 1, "three at once tell it once");
    assert_eq!(tells(&shop, charged_at - hours(1)).await, 0);
    let [event] = &told(&shop, account, EventKind::RenewalUpcoming).await[..] else { panic!("once") };
    assert_eq!(event.detail["amount"], 39_900);
    assert_eq!(event.detail["next_charge_at"], charged_at.to_rfc3339());

    let renewal = shop.open_due(charged_at).await[0];
    shop.charge(renewal, took(&shop.view(renewal).await, 2), charged_at).await;
    let next = shop.account_of(account).await.next_charge_at.unwrap();
    assert_eq!(tells(&shop, next - hours(1)).await, 1, "and for the next period again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_announced_amount_knows_the_choice_and_the_price_of_its_day() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let charged_at = shop.account_of(account).await.next_charge_at.unwrap();
    let request = Request { account_id: account, client: "frontend".into(), idempotency_key: "1".into(), now: noon() };
    subscriptions::change_tariff(&mut *shop.conn().await, &request, year()).await.unwrap();
    let price = TariffPrice {
        tariff_id: year(),
        effective_from: charged_at,
        amount: Kopecks::new(350_000),
        currency: Currency::RUB,
    };
    tariffs::set_price(&mut *shop.conn().await, price, TimeDelta::zero(), noon()).await.unwrap();
    assert_eq!(tells(&shop, charged_at - hours(1)).await, 1);
    let event = told(&shop, account, EventKind::RenewalUpcoming).await.remove(0);
    let renewal = shop.open_due(charged_at).await[0];
    assert_eq!((event.detail["amount"].as_i64(), shop.view(renewal).await.amount.get()), (Some(350_000), 350_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_a_charge_that_is_not_made_and_of_a_day_not_at_its_beginning() {
    let shop = Shop::open().await;
    let (cancelled, without_card) = (shop.subscribed(month(), 1).await, shop.subscribed(month(), 2).await);
    for (account, verb) in [(cancelled, subscriptions::Verb::Cancel), (without_card, subscriptions::Verb::ForgetCard)] {
        let key = uuid::Uuid::new_v4().to_string();
        let request = Request { account_id: account, client: "frontend".into(), idempotency_key: key, now: noon() };
        subscriptions::perform(&mut *shop.conn().await, &request, verb).await.unwrap();
    }
    assert_eq!(tells(&shop, at("2026-04-09T08:00:00Z")).await, 0);
    shop.subscribed(day(), 3).await;
    assert_eq!(tells(&shop, noon() + hours(6) - minutes(1)).await, 0);
    assert_eq!(tells(&shop, noon() + hours(6)).await, 1, "a quarter of the day has passed");
}

/// An account that has paid with a card that expires.
async fn subscribed_with(shop: &Shop, expires: &str, transaction_id: i64) -> AccountId {
    let account = shop.account().await;
    let payment = shop.create(purchase(account)).await.unwrap().payment;
    let Outcome::Completed { transaction_id, token, amount, currency, .. } = took(&payment, transaction_id) else {
        unreachable!()
    };
    let card = Some(CardMask { expires: Some(expires.into()), ..CardMask::default() });
    shop.charge(payment.id, Outcome::Completed { transaction_id, token, amount, currency, card }, noon()).await;
    account
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiring_card_is_announced_a_month_and_a_week_before_and_each_only_once() {
    let shop = Shop::open().await;
    let account = subscribed_with(&shop, "04/26", 1).await;
    subscribed_with(&shop, "nonsense", 2).await;
    let tells = async |now: &str| announcements::cards(&mut *shop.conn().await, at(now), 100).await.unwrap();
    // On the wall clocks of Moscow, where April begins at 21:00 UTC.
    assert_eq!(tells("2026-03-31T20:59:59Z").await, 0);
    assert_eq!((tells("2026-03-31T21:00:00Z").await, tells("2026-03-31T21:00:00Z").await), (1, 0));
    assert_eq!(tells("2026-04-23T20:59:59Z").await, 0);
    assert_eq!((tells("2026-04-23T21:00:00Z").await, tells("2026-04-29T00:00:00Z").await), (1, 0));
    let events = told(&shop, account, EventKind::CardExpiring).await;
    assert_eq!(events.iter().map(|event| &event.detail["expires_on"]).collect::<Vec<_>>(), ["2026-04-30"; 2]);

    let late = subscribed_with(&shop, "04/26", 3).await;
    assert_eq!((tells("2026-04-30T20:59:59Z").await, tells("2026-04-30T20:59:59Z").await), (1, 0), "late: once");
    assert_eq!(told(&shop, late, EventKind::CardExpiring).await.len(), 1);
    subscribed_with(&shop, "04/26", 4).await;
    assert_eq!(tells("2026-04-30T21:00:00Z").await, 0, "it has expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_reads_a_mask_as_the_program_does() {
    let shop = Shop::open().await;
    for expires in ["02/28", "12/26", "13/26", "00/26", "1/26", "12-26", ""] {
        let mask = CardMask { expires: Some(expires.into()), ..CardMask::default() };
        let read = shop.text(&format!("card_expires('{{\"expires\": \"{expires}\"}}') - 1")).await;
        assert_eq!(read, mask.valid_through().map(|day| day.to_string()), "{expires}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_price_is_announced_to_each_subscriber_once_and_to_nobody_else() {
    let shop = Shop::open().await;
    let (stays, chooses) = (shop.subscribed(month(), 1).await, shop.subscribed(day(), 2).await);
    shop.subscribed(year(), 3).await;
    let from = noon() + Duration::days(40);
    let price =
        TariffPrice { tariff_id: month(), effective_from: from, amount: Kopecks::new(49_900), currency: Currency::RUB };
    tariffs::set_price(&mut *shop.conn().await, price, Duration::days(30), noon()).await.unwrap();
    let tells = async |now| announcements::prices(&mut *shop.conn().await, Duration::days(30), now, 100).await.unwrap();
    assert_eq!(tells(from - Duration::days(30) - minutes(1)).await, 0);
    let now = from - Duration::days(30);
    assert_eq!((tells(now).await, tells(now).await), (1, 0));
    let request = Request { account_id: chooses, client: "frontend".into(), idempotency_key: "1".into(), now };
    subscriptions::change_tariff(&mut *shop.conn().await, &request, month()).await.unwrap();
    assert_eq!((tells(now).await, tells(now).await), (1, 0), "who has chosen it is told too");
    for account in [stays, chooses] {
        let [event] = &told(&shop, account, EventKind::PriceChangeUpcoming).await[..] else { panic!("once") };
        assert_eq!(
            (event.detail["amount"].as_i64(), &event.detail["effective_from"]),
            (Some(49_900), &from.to_rfc3339().into())
        );
    }
    assert_eq!(tells(from).await, 0, "it is in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_has_expired_is_not_charged_and_its_customer_is_asked_for_another() {
    let shop = Shop::open().await;
    let account = subscribed_with(&shop, "03/26", 1).await;
    let good = subscribed_with(&shop, "04/26", 2).await;
    let due = at("2026-04-10T08:00:00Z");
    assert_eq!(tells(&shop, at("2026-04-09T08:00:00Z")).await, 1, "nor is it announced");
    let [renewal] = shop.open_due(due).await[..] else { panic!("one card is good") };
    assert_eq!(shop.view(renewal).await.account_id, good);
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Overdue);
    let [refused] = &told(&shop, account, EventKind::RenewalRefused).await[..] else { panic!("once") };
    assert!(refused.detail["message_ru"].as_str().is_some_and(|text| !text.is_empty()), "{:?}", refused.detail);
    // It was good when the charge was opened, and is not when it is sent.
    assert!(matches!(shop.begin(renewal, at("2026-04-30T21:00:00Z")).await, Begin::NotNow(PaymentState::NotExecuted)));
}
