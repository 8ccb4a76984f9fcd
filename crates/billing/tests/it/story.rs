//! The log tells the whole story: each state that a payment, a bill or an account has come to, and each public event once.

use billing::event::{Event, EventKind, Source};
use billing::resolve::ResolvePolicy;
use billing::store::payments::{self, Begin3ds, Resend, Resolve};
use billing::store::{accounts, events, gateway_calls};
use billing::{AccountId, PaymentId};

use crate::event_log::explain;
use crate::shop::{Shop, day, purchase, refused, took, unknown};
use crate::support::sample::TRANSACTION;
use crate::support::{hours, minutes, noon};

/// The states that the log tells of a payment. Each move begins where the one before it ended.
async fn states(shop: &Shop, id: PaymentId) -> Vec<String> {
    let story = events::story_of_payment(&mut *shop.conn().await, id).await.unwrap();
    let mut states: Vec<String> = Vec::new();
    for moved in story.iter().filter(|event| event.kind == EventKind::PaymentMoved) {
        assert_eq!(moved.from_state.as_ref(), states.last(), "a move is missing: {story:#?}");
        states.extend(moved.to_state.clone());
    }
    states
}

async fn story(shop: &Shop, account: AccountId) -> Vec<Event> {
    let mut story = events::story_of_account(&mut *shop.conn().await, account, None, 100).await.unwrap();
    story.reverse();
    story
}

fn times(story: &[Event], kind: EventKind) -> usize {
    story.iter().filter(|event| event.kind == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_a_payment_with_the_banks_page_is_in_its_story() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    shop.answer(payment.id, noon()).await;
    let Begin3ds::Post(_) = shop.post(payment.id, noon()).await else { panic!("the answer is there") };
    shop.apply(payment.id, took(&payment, TRANSACTION), noon()).await;
    assert_eq!(states(&shop, payment.id).await, ["created", "sending", "awaiting_3ds", "posting_3ds", "succeeded"]);
    let story = story(&shop, payment.account_id).await;
    for kind in [EventKind::AccountRegistered, EventKind::PaymentSucceeded, EventKind::AccessGranted] {
        assert_eq!(times(&story, kind), 1, "{kind}: {story:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doubt_and_repetition_are_in_the_story() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.send(payment.id, noon()).await;
    // Its sender wrote nothing down.
    let later = noon() + minutes(7);
    let looked = payments::begin_resolving(&mut *shop.conn().await, payment.id, later - minutes(2), later).await;
    assert!(matches!(looked.unwrap(), Resolve::Look(_)));
    let policy = ResolvePolicy::default();
    let repeated = payments::begin_resend(&mut *shop.conn().await, payment.id, &policy, &shop.cipher, later).await;
    assert!(matches!(repeated.unwrap(), Resend::Charge(_)));
    shop.apply(payment.id, unknown(later), later).await;
    shop.apply(payment.id, refused(5051), later).await;
    assert_eq!(states(&shop, payment.id).await, ["created", "sending", "unknown", "sending", "unknown", "declined"]);
    let story = story(&shop, payment.account_id).await;
    assert_eq!(times(&story, EventKind::PaymentDeclined), 1);
    assert_eq!(times(&story, EventKind::PaymentSucceeded), 0);
}

/// A renewal that was never sent is withdrawn when its subscription is closed; the bill is given up.
#[tokio::test(flavor = "multi_thread")]
async fn what_closing_takes_back_is_in_the_story() {
    let shop = Shop::open().await;
    let account = shop.subscribed(day(), TRANSACTION).await;
    let due = shop.account_of(account).await.paid_until.unwrap();
    let [renewal] = shop.open_due(due).await[..] else { panic!("one renewal is due") };
    assert_eq!(shop.close(due + hours(72)).await, [], "doubt is over, the time of grace begins");
    assert_eq!(shop.close(due + hours(24 * 60)).await, [account]);
    assert_eq!(states(&shop, renewal).await, ["created", "not_executed"]);
    let story = story(&shop, account).await;
    let bill: Vec<_> = story
        .iter()
        .filter(|event| event.kind == EventKind::BillMoved)
        .filter_map(|event| event.from_state.as_deref().zip(event.to_state.as_deref()))
        .collect();
    assert_eq!(bill, [("In work", "Paid"), ("In work", "Not paid"), ("Not paid", "Uncollectible")]);
    assert_eq!(times(&story, EventKind::AccessEnded), 1);
}

/// Money that came for an attempt believed dead: the one under way makes room, and that is told too.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_makes_way_is_in_the_story() {
    let shop = Shop::open().await;
    let first = shop.created().await;
    shop.charge(first.id, refused(5051), noon()).await;
    let second = shop.create(purchase(first.account_id)).await.unwrap().payment;
    shop.apply(first.id, took(&first, TRANSACTION), noon()).await;
    assert_eq!(states(&shop, second.id).await, ["created", "not_executed"]);
    assert_eq!(states(&shop, first.id).await, ["created", "sending", "declined", "succeeded"]);
}

/// By the program or by SQL: the log knows from when to when it was moved.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_moved_by_hand_is_in_the_story_and_one_that_was_paid_for_is_not() {
    let shop = Shop::open().await;
    let account = shop.subscribed(day(), TRANSACTION).await;
    assert_eq!(times(&story(&shop, account).await, EventKind::ExpirationMoved), 0);
    let was = shop.account_of(account).await.expires_on().unwrap();
    let to = was + chrono::Days::new(3);
    assert!(accounts::move_expiration(&mut *shop.conn().await, account, to).await.unwrap());
    shop.sql("update account set expiration_dt = expiration_dt + 1, updated_at = now()").await.unwrap();
    let story = story(&shop, account).await;
    let moved: Vec<_> = story.iter().filter(|event| event.kind == EventKind::ExpirationMoved).collect();
    assert_eq!(moved.len(), 2, "{story:#?}");
    assert_eq!((&moved[0].source, moved[0].position), (&Source::Staff, None));
    assert_eq!(moved[0].detail, serde_json::json!({ "from": was.to_string(), "to": to.to_string() }));
}

/// A worker that died between its two transactions.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_answer_nobody_wrote_down_is_a_call_without_an_end() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.send(payment.id, noon()).await;
    let calls = gateway_calls::of_payment(&mut *shop.conn().await, payment.id).await.unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].path.as_str(), calls[0].ended_at, calls[0].outcome), ("/payments/cards/charge", None, None));
    assert_eq!(calls[0].request_id, Some(shop.text("select request_id from payment").await.unwrap()));
}

/// The page of a payment, and whoever looks for workers that died, find few calls among many.
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_found_by_their_indexes() {
    let shop = Shop::open().await;
    shop.sql(
        "insert into gateway_call (id, started_at, ended_at, payment_id, path, attempt, outcome)
         select gen_random_uuid(), '2026-03-10', '2026-03-10', gen_random_uuid(), '/payments/get', 1, 'ok' from generate_series(1, 20000)",
    )
    .await
    .unwrap();
    shop.sql("analyze gateway_call").await.unwrap();
    let id = PaymentId::new();
    for query in [
        format!("select * from gateway_call where payment_id = '{id}' order by started_at, id"),
        format!("select * from gateway_call where id = '{id}' and started_at = '2026-03-10' and ended_at is null"),
        "select * from gateway_call where ended_at is null and started_at < '2026-03-09'".to_owned(),
    ] {
        let plan = explain(&shop, &query).await;
        assert!(!plan.contains("Seq Scan on gateway_call_default"), "{query}\n{plan}");
    }
}
