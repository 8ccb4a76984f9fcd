//! What a subscriber asks for after the first payment, against whatever is just happening to the renewal.

use billing::AccountId;
use billing::account::AccountStatus;
use billing::bill::BillStatus;
use billing::event::EventKind;
use billing::payment::PaymentState;
use billing::store::events;
use billing::store::payments::Begin;
use billing::store::subscriptions::{self, Request, Verb, VerbError, Written};
use chrono::{DateTime, Duration, Utc};

use crate::shop::{Shop, month, refused, took, unknown};
use crate::support::{at, hours, minutes, noon};

/// Paid at noon of 10 March: the month ends at noon of 10 April.
const PAID_UNTIL: &str = "2026-04-10T09:00:00Z";

fn asked(account_id: AccountId, key: &str, now: DateTime<Utc>) -> Request {
    Request { account_id, client: "frontend".into(), idempotency_key: key.into(), now }
}

async fn cancel(shop: &Shop, account: AccountId, now: DateTime<Utc>) -> Result<Written, VerbError> {
    let request = asked(account, &uuid::Uuid::new_v4().to_string(), now);
    subscriptions::perform(&mut *shop.conn().await, &request, Verb::Cancel).await
}

async fn resume(shop: &Shop, account: AccountId, now: DateTime<Utc>) -> Result<Written, VerbError> {
    let request = asked(account, &uuid::Uuid::new_v4().to_string(), now);
    subscriptions::perform(&mut *shop.conn().await, &request, Verb::Resume).await
}

async fn forget_card(shop: &Shop, account: AccountId, now: DateTime<Utc>) -> Written {
    let request = asked(account, &uuid::Uuid::new_v4().to_string(), now);
    subscriptions::perform(&mut *shop.conn().await, &request, Verb::ForgetCard).await.unwrap()
}

/// The public events of an account since it was registered.
async fn told(shop: &Shop, account: AccountId) -> Vec<EventKind> {
    let mut conn = shop.conn().await;
    let story = events::story_of_account(&mut conn, account, None, 100).await.unwrap();
    story.into_iter().rev().map(|event| event.kind).filter(|kind| kind.is_public()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cancels_keeps_what_is_paid_and_is_not_charged_again() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let written = cancel(&shop, account, noon() + hours(1)).await.unwrap();
    assert!(!written.replayed);
    let subscription = written.subscription;
    assert!(subscription.account.cancel_at_period_end);
    assert_eq!(subscription.account.access_until, Some(at(PAID_UNTIL)));
    assert_eq!(subscription.next_charge(), None);

    let end = at(PAID_UNTIL);
    assert_eq!(shop.open_due(end).await, [], "nothing is charged at the end");
    assert!(shop.account_of(account).await.access(end - minutes(1)).has_access);
    shop.close(end).await;
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Canceled);
    assert!(told(&shop, account).await.contains(&EventKind::AccessEnds));
}

#[tokio::test(flavor = "multi_thread")]
async fn c20_a_cancellation_stays_when_the_renewal_in_doubt_succeeds_after_it() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let due = at(PAID_UNTIL) - hours(2);
    let renewal = shop.open_due(due).await[0];
    shop.charge(renewal, unknown(due), due).await;

    let written = cancel(&shop, account, due + minutes(1)).await.unwrap();
    let open = written.subscription.open.expect("the renewal is still owed");
    assert_eq!(open.payment.expect("it is under way").0.id, renewal, "the caller is told of the charge");

    let view = shop.view(renewal).await;
    shop.apply(renewal, took(&view, 2), due + minutes(20)).await;
    let after = shop.account_of(account).await;
    assert!(after.cancel_at_period_end);
    assert_eq!(after.next_charge_at, None);
    assert_eq!(after.paid_until, Some(at("2026-05-10T09:00:00Z")));
    assert_eq!(after.access_until, after.paid_until, "access ends at the new end");
    assert_eq!(shop.open_due(at("2026-05-10T09:00:00Z")).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn c21_a_renewal_that_meets_a_cancellation_is_withdrawn_or_named_to_the_caller() {
    let shop = Shop::open().await;
    let due = at(PAID_UNTIL) - hours(2);
    for n in 0..40 {
        let account = shop.subscribed(month(), 100 + n).await;
        let renewal = shop.open_due(due).await[0];
        let sending = async { shop.begin(renewal, due).await };
        let cancelling = async { cancel(&shop, account, due).await.unwrap() };
        let (begun, written) = tokio::join!(sending, cancelling);
        let named = written.subscription.open.and_then(|open| open.payment).map(|(view, _)| view.id);
        match begun {
            Begin::Send(_) => assert_eq!(named, Some(renewal), "it was sent: the caller is told"),
            Begin::NotNow(state) => {
                assert_eq!(state, PaymentState::NotExecuted);
                assert_eq!(named, None);
            }
        }
        assert!(shop.account_of(account).await.cancel_at_period_end);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c23_who_cancels_in_grace_is_not_charged_again_and_cannot_resume_what_is_over() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let due = at(PAID_UNTIL) - hours(2);
    let renewal = shop.open_due(due).await[0];
    shop.charge(renewal, refused(5051), due).await;
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Overdue);

    let written = cancel(&shop, account, due + hours(1)).await.unwrap();
    assert_eq!(
        written.subscription.account.access_until,
        Some(at(PAID_UNTIL)),
        "to the end of what is paid, not of grace"
    );
    assert_eq!(written.subscription.open, None, "what was refused is not owed any more");
    let bill = shop.view(renewal).await.bill_status;
    assert_eq!(bill, BillStatus::Void);
    assert_eq!(shop.open_due(due + Duration::days(3)).await, [], "no further try");

    shop.close(at(PAID_UNTIL)).await;
    let again = cancel(&shop, account, at(PAID_UNTIL) + hours(1)).await.unwrap();
    assert_eq!(again.subscription.account.status, AccountStatus::Canceled, "asked again it is as it is");
    let over = resume(&shop, account, at(PAID_UNTIL) + hours(1)).await.unwrap_err();
    assert!(matches!(over, VerbError::Ended), "{over:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c26_a_forgotten_card_is_charged_no_more_and_nothing_of_it_stays() {
    for state in [PaymentState::Created, PaymentState::Sending, PaymentState::Unknown] {
        let shop = Shop::open().await;
        let account = shop.subscribed(month(), 1).await;
        let due = at(PAID_UNTIL) - hours(2);
        let renewal = shop.open_due(due).await[0];
        if state != PaymentState::Created {
            shop.send(renewal, due).await;
        }
        if state == PaymentState::Unknown {
            shop.apply(renewal, unknown(due), due).await;
        }
        let written = forget_card(&shop, account, due + minutes(1)).await;
        assert!(!written.subscription.account.has_token);
        assert_eq!(written.subscription.card, None);
        assert_eq!(written.subscription.next_charge(), None);
        if state == PaymentState::Created {
            assert_eq!(shop.state(renewal).await, PaymentState::NotExecuted, "withdrawn");
        } else {
            // It ends by its own answer, which brings the token again.
            let view = shop.view(renewal).await;
            shop.apply(renewal, took(&view, 2), due + minutes(2)).await;
            assert_eq!(shop.state(renewal).await, PaymentState::Succeeded);
        }
        assert_eq!(shop.text("select payment_token from account").await, None, "{state}");
        assert_eq!(shop.text("select card from account").await, None, "{state}");
        assert_eq!(shop.count("card where token is not null or mask is not null").await, 0, "{state}");
        assert_eq!(told(&shop, account).await.iter().filter(|kind| **kind == EventKind::CardForgotten).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_resumes_is_renewed_as_if_they_had_never_cancelled() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let before = shop.account_of(account).await;
    for n in 0..5 {
        cancel(&shop, account, noon() + hours(n)).await.unwrap();
        resume(&shop, account, noon() + hours(n)).await.unwrap();
    }
    let after = shop.account_of(account).await;
    assert_eq!(after, before, "access does not grow by it");

    cancel(&shop, account, noon()).await.unwrap();
    forget_card(&shop, account, noon()).await;
    let refused = resume(&shop, account, noon()).await.unwrap_err();
    assert!(matches!(refused, VerbError::NoCard), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_done_once_and_never_for_something_else() {
    let shop = Shop::open().await;
    let (account, other) = (shop.subscribed(month(), 1).await, shop.subscribed(month(), 2).await);
    let mut conn = shop.conn().await;
    let first = subscriptions::perform(&mut conn, &asked(account, "key", noon()), Verb::Cancel).await.unwrap();
    assert!(!first.replayed);
    resume(&shop, account, noon()).await.unwrap();
    let again = subscriptions::perform(&mut conn, &asked(account, "key", noon()), Verb::Cancel).await.unwrap();
    assert!(again.replayed);
    assert!(!again.subscription.account.cancel_at_period_end, "done once: the resumption after it stays");

    for (request, verb) in [(asked(other, "key", noon()), "account"), (asked(account, "key", noon()), "verb")] {
        let conflict = match verb {
            "account" => subscriptions::perform(&mut conn, &request, Verb::Cancel).await,
            _ => subscriptions::perform(&mut conn, &request, Verb::Resume).await,
        };
        assert!(matches!(conflict.unwrap_err(), VerbError::IdempotencyConflict), "another {verb}");
    }
    let of_another_client = Request { client: "mobile".into(), ..asked(other, "key", noon()) };
    assert!(!subscriptions::perform(&mut conn, &of_another_client, Verb::Cancel).await.unwrap().replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_that_make_no_sense_now_are_refused_and_write_nothing() {
    let shop = Shop::open().await;
    let never_paid = shop.account().await;
    let before = shop.everything().await;
    assert!(matches!(cancel(&shop, never_paid, noon()).await.unwrap_err(), VerbError::NoSubscription));
    assert!(matches!(resume(&shop, never_paid, noon()).await.unwrap_err(), VerbError::NoSubscription));
    let unknown = AccountId::new();
    assert!(
        matches!(cancel(&shop, unknown, noon()).await.unwrap_err(), VerbError::UnknownAccount(id) if id == unknown)
    );
    assert_eq!(shop.everything().await, before);
    assert_eq!(shop.count("api_request").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_from_the_newest_on() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let mut due = at(PAID_UNTIL) - hours(2);
    for n in 0..4 {
        let renewal = shop.open_due(due).await[0];
        let view = shop.view(renewal).await;
        shop.charge(renewal, took(&view, 10 + n), due).await;
        due = shop.account_of(account).await.paid_until.unwrap() - hours(2);
    }
    let mut conn = shop.conn().await;
    let first = subscriptions::payments(&mut conn, account, None, 3).await.unwrap().unwrap();
    assert_eq!(first.rows.len(), 3);
    let rest = subscriptions::payments(&mut conn, account, first.next, 3).await.unwrap().unwrap();
    assert_eq!((rest.rows.len(), rest.next), (2, None));
    let transactions: Vec<_> = first.rows.iter().chain(&rest.rows).filter_map(|row| row.transaction_id).collect();
    assert_eq!(transactions, [13, 12, 11, 10, 1]);
    let bills = subscriptions::bills(&mut conn, account, None, 100).await.unwrap().unwrap();
    assert_eq!((bills.rows.len(), bills.next), (5, None));
    assert_eq!(subscriptions::bill(&mut conn, bills.rows[0].id).await.unwrap().as_ref(), Some(&bills.rows[0]));
    assert_eq!(subscriptions::bills(&mut conn, AccountId::new(), None, 100).await.unwrap(), None);
}

/// What others are told of a whole life, each thing once and in its order.
#[tokio::test(flavor = "multi_thread")]
async fn every_public_event_of_a_life_comes_once_and_in_order() {
    use EventKind as K;
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let due = at(PAID_UNTIL) - hours(2);
    let renewal = shop.open_due(due).await[0];
    shop.charge(renewal, refused(5051), due).await;
    shop.apply(renewal, refused(5051), due).await;
    let again = shop.open_due(due + Duration::hours(30)).await[0];
    let view = shop.view(again).await;
    shop.charge(again, took(&view, 2), due + Duration::hours(30)).await;
    shop.apply(again, took(&view, 2), due + Duration::hours(31)).await;
    cancel(&shop, account, due + Duration::hours(32)).await.unwrap();
    let end = shop.account_of(account).await.paid_until.unwrap();
    shop.close(end).await;
    shop.close(end + hours(1)).await;
    assert_eq!(
        told(&shop, account).await,
        [
            K::AccountRegistered,
            K::PaymentSucceeded,
            K::AccessGranted,
            K::PaymentDeclined,
            K::RenewalRefused,
            K::PaymentSucceeded,
            K::AccessGranted,
            K::AccessEnds,
            K::AccessEnded,
        ]
    );
    let mut conn = shop.conn().await;
    let story = events::story_of_payment(&mut conn, again).await.unwrap();
    let moved: Vec<_> = story.iter().filter_map(|event| event.to_state.as_deref()).collect();
    assert_eq!(moved, ["created", "sending", "succeeded", "Paid", "Active"], "payment, bill, subscription");
}
