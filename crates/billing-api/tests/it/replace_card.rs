//! Another card takes the place of the kept one, over the wire.

use std::time::Duration;

use billing::payment::Outcome;
use billing::{Currency, Kopecks};
use billing_api::proto::subscriptions_client::SubscriptionsClient;
use billing_api::proto::{
    GetBillRequest, GetSubscriptionRequest, ListBillsRequest, ListPaymentsRequest, Payment, PaymentStatus,
    ReplaceCardRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Response};
use uuid::Uuid;

use crate::gateway_rest::refuses_us;
use crate::refused::{Refusal, fact, refusal, refused};
use crate::worker::{TRANSACTION, completed, three_ds_required};
use crate::world::{CRYPTOGRAM, FRONTEND, World, by};

fn client(world: &World) -> SubscriptionsClient<Channel> {
    SubscriptionsClient::new(world.channel())
}

/// An account that has paid.
async fn subscriber(world: &World) -> String {
    let payment = world.payment().await;
    world.charged(&payment.payment_id, completed(payment.amount_kopecks)).await;
    payment.account_id
}

fn order(account_id: &str) -> ReplaceCardRequest {
    ReplaceCardRequest {
        account_id: account_id.to_owned(),
        idempotency_key: Uuid::new_v4().to_string(),
        card_cryptogram_packet: CRYPTOGRAM.to_owned(),
        ip_address: "203.0.113.7".to_owned(),
        pay_debt: true,
    }
}

async fn replace(world: &World, order: &ReplaceCardRequest) -> Response<Payment> {
    client(world).replace_card(by(FRONTEND, order.clone())).await.expect("begun")
}

/// A rouble is held.
fn held() -> Outcome {
    Outcome::Authorized {
        transaction_id: TRANSACTION + 1,
        token: Some("tk_another".into()),
        amount: Kopecks::new(100),
        currency: Currency::RUB,
        card: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_verified_is_told_as_a_payment_that_buys_nothing() {
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let begun = replace(&world, &order(&account_id)).await.into_inner();
    assert_eq!((begun.status(), begun.amount_kopecks, begun.verifies_card), (PaymentStatus::Created, 100, true));
    assert_eq!(world.waiting().await, 2, "a worker is told of it, as of the first payment");
    let mut watch = world.watch(&begun.payment_id).await;
    watch.message().await.expect("open").expect("as it is");
    world.charged(&begun.payment_id, held()).await;
    world.tell_charged(&begun.payment_id).await;
    let told = watch.message().await.expect("open").expect("good");
    assert_eq!((told.status(), told.renews, &*told.access_expires_on), (PaymentStatus::Succeeded, true, ""));
    assert_eq!(watch.message().await.expect("closed well"), None, "that is the end of it");

    let list = ListBillsRequest { account_id: account_id.clone(), ..Default::default() };
    let bills = client(&world).list_bills(by(FRONTEND, list)).await.expect("bills").into_inner().bills;
    assert_eq!(bills.len(), 1, "it was never owed");
    let bill = GetBillRequest { bill_id: told.bill_id };
    assert!(client(&world).get_bill(by(FRONTEND, bill)).await.expect("a bill").into_inner().verifies_card);
    let list = ListPaymentsRequest { account_id, ..Default::default() };
    let payments = client(&world).list_payments(by(FRONTEND, list)).await.expect("payments").into_inner().payments;
    assert_eq!(payments.iter().map(|payment| payment.verifies_card).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bank_may_ask_for_a_verified_card_too() {
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let begun = replace(&world, &order(&account_id)).await.into_inner();
    let Outcome::ThreeDsRequired { acs_url, pa_req, expires_at, .. } = three_ds_required() else { unreachable!() };
    let transaction_id = TRANSACTION + 1;
    world.charged(&begun.payment_id, Outcome::ThreeDsRequired { transaction_id, acs_url, pa_req, expires_at }).await;
    let answer = billing_api::proto::SubmitThreeDsRequest {
        payment_id: begun.payment_id.clone(),
        md: transaction_id.to_string(),
        pa_res: "eJx".to_owned(),
    };
    let answered = world.payments().submit_three_ds(by(FRONTEND, answer)).await.expect("taken").into_inner();
    assert_eq!(answered.status(), PaymentStatus::Processing);
    let verified = world.posted(&begun.payment_id, held()).await;
    assert!(verified.payment.renews);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_begins_once_and_a_second_card_waits_for_the_first() {
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let first = order(&account_id);
    let begun = replace(&world, &first).await;
    assert_eq!(begun.metadata().get("idempotent-replayed"), None);
    let again = replace(&world, &first).await;
    let replayed = again.metadata().get("idempotent-replayed").map(tonic::metadata::MetadataValue::as_bytes);
    assert_eq!(replayed, Some(&b"true"[..]));
    assert_eq!(again.get_ref().payment_id, begun.get_ref().payment_id);

    let other = ReplaceCardRequest { pay_debt: false, ..first };
    let status = client(&world).replace_card(by(FRONTEND, other)).await.expect_err("other content");
    assert_eq!(refusal(&status), refused(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED", &["idempotency_key"]));
    let status = client(&world).replace_card(by(FRONTEND, order(&account_id))).await.expect_err("one at a time");
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "PAYMENT_IN_PROGRESS", &["account_id"]));
    assert_eq!(fact(&status, "payment_id").as_ref(), Some(&begun.get_ref().payment_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_card_is_replaced_while_the_gateway_is_left_alone() {
    let world = World::start().await;
    let (account_id, other) = (subscriber(&world).await, world.account().await);
    let first = order(&account_id);
    let begun = replace(&world, &first).await.into_inner();
    refuses_us(&world).await;
    // The API believes for a second what it has read. Who has never paid is refused before and after, and nothing is begun.
    let refusing = testkit::eventually(Duration::from_secs(20), async || {
        let refused = client(&world).replace_card(by(FRONTEND, order(&other))).await.expect_err("nothing to renew");
        if refused.code() == Code::Unavailable { Ok(refused) } else { Err(refused) }
    });
    assert_eq!(refusal(&refusing.await), refused(Code::Unavailable, "GATEWAY_UNAVAILABLE", &[]));
    let again = replace(&world, &first).await.into_inner();
    assert_eq!(again.payment_id, begun.payment_id, "what was begun before is told all the same");
    let changed = ReplaceCardRequest { pay_debt: false, ..first };
    let status = client(&world).replace_card(by(FRONTEND, changed)).await.expect_err("other content");
    assert_eq!(refusal(&status), refused(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED", &["idempotency_key"]));
}

type Spoil = fn(&mut ReplaceCardRequest);

#[tokio::test(flavor = "multi_thread")]
async fn a_card_with_wrong_fields_is_refused_and_nothing_is_written() {
    let invalid = |fields: &[&str]| refused(Code::InvalidArgument, "INVALID_FIELDS", fields);
    let cases: [(&str, Spoil, Refusal); 10] = [
        ("no account", |r| r.account_id.clear(), invalid(&["account_id"])),
        ("account is no UUID", |r| r.account_id = "42".into(), invalid(&["account_id"])),
        ("no key", |r| r.idempotency_key.clear(), invalid(&["idempotency_key"])),
        ("long key", |r| r.idempotency_key = "k".repeat(129), invalid(&["idempotency_key"])),
        ("no cryptogram", |r| r.card_cryptogram_packet.clear(), invalid(&["card_cryptogram_packet"])),
        ("long cryptogram", |r| r.card_cryptogram_packet = "A".repeat(4097), invalid(&["card_cryptogram_packet"])),
        (
            "a card number",
            |r| r.card_cryptogram_packet = "4242424242424242".into(),
            invalid(&["card_cryptogram_packet"]),
        ),
        ("everybody", |r| r.ip_address = "255.255.255.255".into(), invalid(&["ip_address"])),
        (
            "nothing at all",
            |r| *r = ReplaceCardRequest::default(),
            invalid(&["account_id", "idempotency_key", "card_cryptogram_packet", "ip_address"]),
        ),
        (
            "unknown account",
            |r| r.account_id = Uuid::new_v4().to_string(),
            refused(Code::NotFound, "ACCOUNT_NOT_FOUND", &["account_id"]),
        ),
    ];
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let waiting = world.waiting().await;
    for (what, spoil, expected) in cases {
        let mut request = order(&account_id);
        spoil(&mut request);
        let status = client(&world).replace_card(by(FRONTEND, request)).await.expect_err(what);
        assert_eq!(refusal(&status), expected, "{what}");
    }
    let never_paid = world.account().await;
    let status = client(&world).replace_card(by(FRONTEND, order(&never_paid))).await.expect_err("nothing to renew");
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "NO_SUBSCRIPTION", &["account_id"]));
    assert_eq!(world.waiting().await, waiting, "no worker is told");
    let request = GetSubscriptionRequest { account_id };
    let subscription = client(&world).get_subscription(by(FRONTEND, request)).await.expect("as it was").into_inner();
    assert!(subscription.next_charge.is_some() && subscription.renewal_payment_id.is_empty());
}
