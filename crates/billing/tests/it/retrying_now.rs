//! A refused renewal that somebody of the staff has charged before its time.

use billing::AccountId;
use billing::breaker::{BreakerPolicy, Circuit, Signal};
use billing::payment::{Instrument, Outcome, PaymentState};
use billing::staff::Role;
use billing::store::circuits::{self, Watch};
use billing::store::renewals::NoRetry;
use billing::store::staff::{self, Action, ActionError, ActionKind, By, Done, Order, Preview};
use chrono::{DateTime, Utc};

use crate::shop::{Shop, month, refused, took};
use crate::support::{at, hours, noon};

fn due() -> DateTime<Utc> {
    at("2026-04-10T07:00:00Z")
}

/// A subscription whose renewal was refused when it was due.
async fn refused_once(shop: &Shop, transaction_id: i64, outcome: Outcome) -> AccountId {
    let account = shop.subscribed(month(), transaction_id).await;
    let renewal = shop.open_due(due()).await[0];
    shop.charge(renewal, outcome, due()).await;
    account
}

fn retry(account_id: AccountId) -> Action {
    Action { kind: ActionKind::RetryNow, account_id, days: 0, tariff_id: None }
}

async fn shown(shop: &Shop, account: AccountId, now: DateTime<Utc>) -> Result<Preview, ActionError> {
    staff::preview(&mut *shop.conn().await, &retry(account), now).await
}

async fn why_not(shop: &Shop, account: AccountId, now: DateTime<Utc>) -> NoRetry {
    match shown(shop, account, now).await {
        Err(ActionError::NoRetry(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn order(shop: &Shop, account: AccountId, shown: &Preview) -> Order {
    let (mut conn, by) = (shop.conn().await, By::command_line("a test"));
    let ada = staff::add(&mut conn, "ada", Role::Accountant, "no hash", &by, noon()).await.unwrap();
    let digest = shown.digest.clone();
    Order { id: uuid::Uuid::now_v7(), action: retry(account), digest, reason: "topped up".into(), staff_id: ada.id, by }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_charged_once_and_not_a_third_time_within_a_day() {
    let shop = Shop::open().await;
    let account = refused_once(&shop, 1, refused(5051)).await;
    let now = due() + hours(1);
    let preview = shown(&shop, account, now).await.unwrap();
    let payment = preview.after.open.as_ref().and_then(|open| open.payment.as_ref()).map(|(view, _)| view.clone());
    assert_eq!(payment.map(|view| (view.state, view.instrument)), Some((PaymentState::Created, Instrument::Token)));
    assert_eq!(shop.count("payment").await, 2, "what is only looked at is not done");

    let order = order(&shop, account, &preview).await;
    let act = async || staff::act(&mut *shop.conn().await, &order, now).await.unwrap();
    let (one, other) = tokio::join!(act(), act());
    assert!([&one, &other].contains(&&Done::Now) && [&one, &other].contains(&&Done::Before), "{one:?} {other:?}");
    assert_eq!(act().await, Done::Before);
    assert_eq!(shop.count("payment where state = 'created'").await, 1);
    let kept = "audit_log where action = 'retry_now' and reason = 'topped up' and before <> after";
    assert_eq!(shop.count(kept).await, 1);
    assert_eq!(why_not(&shop, account, now).await, NoRetry::InWork);

    let again = shop.text("select id from payment where state = 'created'").await.unwrap().parse().unwrap();
    shop.charge(again, refused(5051), now).await;
    let rests = NoRetry::CardRests(due() + hours(24) + chrono::Duration::seconds(1));
    assert_eq!(why_not(&shop, account, now + hours(2)).await, rests, "two charges in 24 hours");
    let later = due() + hours(25);
    shown(&shop, account, later).await.expect("a day later it may be tried again");

    // What pays it meanwhile is seen by whoever confirms.
    let stale = shown(&shop, account, later).await.unwrap();
    let planned = shop.account_of(account).await.next_charge_at.expect("a try is planned");
    let third = shop.open_due(planned).await[0];
    let view = shop.view(third).await;
    shop.charge(third, took(&view, 3), planned).await;
    let late = Order { id: uuid::Uuid::now_v7(), digest: stale.digest, ..order };
    let done = staff::act(&mut *shop.conn().await, &late, planned + hours(1)).await;
    assert!(matches!(done, Err(ActionError::NoRetry(NoRetry::NotPlanned))), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_word_and_its_breaker_are_kept() {
    let shop = Shop::open().await;
    let until = due() + hours(40);
    let declined = match refused(5051) {
        Outcome::Declined { transaction_id, code, reason, cardholder_message, .. } => {
            Outcome::Declined { transaction_id, code, reason, cardholder_message, retry_after: Some(until) }
        }
        other => other,
    };
    let account = refused_once(&shop, 1, declined).await;
    assert_eq!(why_not(&shop, account, due() + hours(1)).await, NoRetry::GatewayForbids(until));
    let now = until + hours(1);
    shown(&shop, account, now).await.expect("the time has passed");

    let never = refused_once(&shop, 2, refused(5041)).await;
    assert_eq!(why_not(&shop, never, now).await, NoRetry::NoCard, "a lost card is not charged again");
    let paid = shop.subscribed(month(), 3).await;
    assert_eq!(why_not(&shop, paid, now).await, NoRetry::NotPlanned, "nothing was refused");

    let refusing = [(Circuit::KeptCards, Signal::Refused)];
    let policy = BreakerPolicy::default();
    circuits::heard(&mut *shop.conn().await, Watch::UNASKED, &refusing, "no", &policy, now).await.unwrap();
    assert!(matches!(why_not(&shop, account, now).await, NoRetry::GatewayRests(until) if until > now));
}
