//! What a subscriber asks for, over the wire.

use std::time::Duration;

use billing_api::proto::subscriptions_client::SubscriptionsClient;
use billing_api::proto::{
    AccountStatus, BillStatus, CancelRequest, ChangeTariffRequest, CheckAccessRequest, CloseAccountRequest,
    ForgetCardRequest, GetBillRequest, GetSubscriptionRequest, ListBillsRequest, ListPaymentsRequest,
    ListTariffsRequest, PaymentStatus, PreviewChangeRequest, ResumeRequest, Subscription, Tariff,
};
use tonic::Code;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::gateway_rest::refuses_us;
use crate::refused::{refusal, refused};
use crate::worker::completed;
use crate::world::{AUTH, FRONTEND, World, by};

fn client(world: &World) -> SubscriptionsClient<Channel> {
    SubscriptionsClient::new(world.channel())
}

fn key() -> String {
    Uuid::new_v4().to_string()
}

/// An account that has paid.
async fn subscriber(world: &World) -> String {
    let payment = world.payment().await;
    world.charged(&payment.payment_id, completed(payment.amount_kopecks)).await;
    payment.account_id
}

/// The subscriber has the cheapest.
async fn dearest(world: &World) -> Tariff {
    let answer = world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect("tariffs");
    answer.into_inner().tariffs.pop().expect("three are seeded")
}

async fn get(world: &World, account_id: &str) -> Subscription {
    let request = GetSubscriptionRequest { account_id: account_id.to_owned() };
    client(world).get_subscription(by(FRONTEND, request)).await.expect("a subscription").into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_says_what_is_charged_next_and_why_it_is_as_it_is() {
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let subscription = get(&world, &account_id).await;
    let access = subscription.access.expect("access");
    assert_eq!((access.has_access, access.status()), (true, AccountStatus::Active));
    let next = subscription.next_charge.expect("a renewal");
    assert_eq!(next.amount_kopecks, world.tariff().await.amount_kopecks);
    let seconds = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds);
    assert!(seconds(next.at) < seconds(subscription.paid_until), "before the paid time ends");
    assert_eq!(subscription.next_at, next.at, "the page and the charge cannot disagree");
    let (why, what) = (subscription.why.expect("why"), subscription.next.expect("what comes next"));
    assert!(why.en.starts_with("It is paid until ") && why.ru.starts_with("Оплачена до "), "{why:?}");
    assert_eq!(what.en, "The next period is charged.");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_resuming_and_forgetting_the_card_answer_what_became_of_the_subscription() {
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let cancel = CancelRequest { account_id: account_id.clone(), idempotency_key: key() };
    let cancelled = client(&world).cancel(by(FRONTEND, cancel.clone())).await.expect("cancelled");
    assert_eq!(cancelled.metadata().get("idempotent-replayed"), None);
    assert!(cancelled.get_ref().cancel_at_period_end);
    assert_eq!(cancelled.get_ref().next_charge, None);

    let again = client(&world).cancel(by(FRONTEND, cancel)).await.expect("the same key");
    assert_eq!(
        again.metadata().get("idempotent-replayed").map(tonic::metadata::MetadataValue::as_bytes),
        Some(&b"true"[..])
    );

    let resume = ResumeRequest { account_id: account_id.clone(), idempotency_key: key() };
    let resumed = client(&world).resume(by(FRONTEND, resume)).await.expect("resumed").into_inner();
    assert!(!resumed.cancel_at_period_end && resumed.next_charge.is_some());

    let forget = ForgetCardRequest { account_id: account_id.clone(), idempotency_key: key() };
    let forgotten = client(&world).forget_card(by(FRONTEND, forget)).await.expect("forgotten").into_inner();
    assert_eq!((forgotten.card, forgotten.next_charge), (None, None));
    assert!(forgotten.access.expect("access").has_access, "what is paid stays paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_reason() {
    let world = World::start().await;
    let never_paid = world.account().await;
    let of = |account_id: &str| CancelRequest { account_id: account_id.to_owned(), idempotency_key: key() };
    let status = client(&world).cancel(by(FRONTEND, of(&never_paid))).await.expect_err("nothing to cancel");
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "NO_SUBSCRIPTION", &["account_id"]));
    let status = client(&world).cancel(by(FRONTEND, of(&key()))).await.expect_err("unknown");
    assert_eq!(refusal(&status), refused(Code::NotFound, "ACCOUNT_NOT_FOUND", &["account_id"]));
    let status = client(&world).cancel(by(FRONTEND, CancelRequest::default())).await.expect_err("empty");
    assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &["account_id", "idempotency_key"]));
    let bill = GetBillRequest { bill_id: key() };
    let status = client(&world).get_bill(by(FRONTEND, bill)).await.expect_err("unknown");
    assert_eq!(refusal(&status), refused(Code::NotFound, "BILL_NOT_FOUND", &["bill_id"]));
    for (page_size, page_token, field) in [(-1, "", "page_size"), (101, "", "page_size"), (0, "nonsense", "page_token")]
    {
        let list = ListBillsRequest { account_id: never_paid.clone(), page_size, page_token: page_token.to_owned() };
        let status = client(&world).list_bills(by(FRONTEND, list)).await.expect_err(field);
        assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &[field]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_tells_the_truth_and_takes_nothing_more() {
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let close = |access_ends_at_once, idempotency_key: String| {
        let account_id = account_id.clone();
        by(FRONTEND, CloseAccountRequest { account_id, access_ends_at_once, idempotency_key })
    };
    let closing = key();
    let closed = client(&world).close_account(close(false, closing.clone())).await.expect("closed").into_inner();
    assert!(closed.closed_at.is_some() && closed.next_charge.is_none() && closed.card.is_none());
    assert!(closed.access.expect("access").has_access, "what is paid stays paid");
    assert!(closed.why.expect("why").en.starts_with("The account is closed; it is paid until "));
    let again = client(&world).close_account(close(false, closing.clone())).await.expect("the same key");
    assert!(again.metadata().get("idempotent-replayed").is_some());
    let status = client(&world).close_account(close(true, closing)).await.expect_err("another wish");
    assert_eq!(refusal(&status), refused(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED", &["idempotency_key"]));

    let is_closed = refused(Code::FailedPrecondition, "ACCOUNT_CLOSED", &["account_id"]);
    let cancel = CancelRequest { account_id: account_id.clone(), idempotency_key: key() };
    assert_eq!(refusal(&client(&world).cancel(by(FRONTEND, cancel)).await.expect_err("closed")), is_closed);
    let resume = ResumeRequest { account_id: account_id.clone(), idempotency_key: key() };
    assert_eq!(refusal(&client(&world).resume(by(FRONTEND, resume)).await.expect_err("closed")), is_closed);
    let forget = ForgetCardRequest { account_id: account_id.clone(), idempotency_key: key() };
    assert_eq!(refusal(&client(&world).forget_card(by(FRONTEND, forget)).await.expect_err("closed")), is_closed);
    let mut order = world.order().await;
    order.account_id.clone_from(&account_id);
    assert_eq!(refusal(&world.payments().create_payment(by(FRONTEND, order)).await.expect_err("closed")), is_closed);

    let check = || by(AUTH, CheckAccessRequest { account_id: account_id.clone() });
    assert!(world.access().check_access(check()).await.expect("known").into_inner().has_access);
    let ended = client(&world).close_account(close(true, key())).await.expect("ended").into_inner();
    assert_eq!(ended.why.expect("why").en, "The account is closed.");
    assert!(!world.access().check_access(check()).await.expect("known").into_inner().has_access);
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_and_bills_are_listed_page_by_page() {
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let list = ListPaymentsRequest { account_id: account_id.clone(), page_size: 1, ..Default::default() };
    let page = client(&world).list_payments(by(FRONTEND, list)).await.expect("a page").into_inner();
    assert_eq!((page.payments.len(), &*page.next_page_token), (1, ""));
    assert_eq!(page.payments[0].status(), PaymentStatus::Succeeded);

    let list = ListBillsRequest { account_id, ..Default::default() };
    let page = client(&world).list_bills(by(FRONTEND, list)).await.expect("a page").into_inner();
    assert_eq!(page.bills.len(), 1);
    let bill = GetBillRequest { bill_id: page.bills[0].bill_id.clone() };
    let bill = client(&world).get_bill(by(FRONTEND, bill)).await.expect("the bill").into_inner();
    assert_eq!(bill, page.bills[0]);
    assert_eq!((bill.status(), bill.is_renewal, bill.paid_at.is_some()), (BillStatus::Paid, false, true));
    assert_eq!(bill.bill_id, page.bills[0].bill_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tariff_is_changed_from_the_next_period_and_taken_back() {
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let present = get(&world, &account_id).await.access.expect("access").tariff_id;
    let other = dearest(&world).await;
    let change = |tariff_id: &str| ChangeTariffRequest {
        account_id: account_id.clone(),
        tariff_id: tariff_id.to_owned(),
        idempotency_key: key(),
        ..Default::default()
    };
    let changed =
        client(&world).change_tariff(by(FRONTEND, change(&other.tariff_id))).await.expect("changed").into_inner();
    assert_eq!(changed.pending_tariff_id, other.tariff_id);
    assert_eq!(changed.next_charge.expect("a renewal").amount_kopecks, other.amount_kopecks);
    assert!(changed.why.expect("why").en.ends_with("Another tariff was chosen from the next period on."));
    let back = client(&world).change_tariff(by(FRONTEND, change(&present))).await.expect("taken back").into_inner();
    assert_eq!(back.pending_tariff_id, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_once_is_previewed_and_refused_with_its_reason() {
    let world = World::start().await;
    let account_id = subscriber(&world).await;
    let present = get(&world, &account_id).await.access.expect("access").tariff_id;
    let preview =
        |tariff_id: &str| PreviewChangeRequest { account_id: account_id.clone(), tariff_id: tariff_id.to_owned() };
    let same = client(&world).preview_change(by(FRONTEND, preview(&present))).await.expect("a preview").into_inner();
    assert_eq!((&*same.at_once_refused, same.at_once_amount_kopecks), ("SAME_TARIFF", 0));

    let at_once = |tariff_id: &str, shown: i64| ChangeTariffRequest {
        account_id: account_id.clone(),
        tariff_id: tariff_id.to_owned(),
        idempotency_key: key(),
        at_once: true,
        previewed_amount_kopecks: shown,
    };
    let refuse = async |request: ChangeTariffRequest| {
        client(&world).change_tariff(by(FRONTEND, request)).await.expect_err("refused")
    };
    let status = refuse(at_once(&present, 1)).await;
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "SAME_TARIFF", &["tariff_id"]));
    let status = refuse(at_once(&present, 0)).await;
    assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &["previewed_amount_kopecks"]));
    let status = refuse(ChangeTariffRequest { previewed_amount_kopecks: 1, ..Default::default() }).await;
    let all = ["account_id", "tariff_id", "idempotency_key", "previewed_amount_kopecks"];
    assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &all));
    let status = refuse(at_once(&key(), 1)).await;
    assert_eq!(refusal(&status), refused(Code::NotFound, "TARIFF_NOT_FOUND", &["tariff_id"]));

    let dearest = dearest(&world).await;
    let shown =
        client(&world).preview_change(by(FRONTEND, preview(&dearest.tariff_id))).await.expect("a preview").into_inner();
    assert!(shown.at_once_amount_kopecks > 0, "{shown:?}");
    let status = refuse(at_once(&dearest.tariff_id, shown.at_once_amount_kopecks - 1)).await;
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "PREVIEW_CHANGED", &["previewed_amount_kopecks"]));
    let request = at_once(&dearest.tariff_id, shown.at_once_amount_kopecks);
    let asked = client(&world).change_tariff(by(FRONTEND, request.clone())).await.expect("asked").into_inner();
    assert_ne!(asked.renewal_payment_id, "", "the payment to follow");

    refuses_us(&world).await;
    // The API believes for a second what it has read.
    let resting = testkit::eventually(Duration::from_secs(20), async || {
        let status = refuse(at_once(&dearest.tariff_id, shown.at_once_amount_kopecks)).await;
        if status.code() == Code::Unavailable { Ok(status) } else { Err(status) }
    });
    assert_eq!(refusal(&resting.await), refused(Code::Unavailable, "GATEWAY_UNAVAILABLE", &[]));
    let again = client(&world).change_tariff(by(FRONTEND, request)).await.expect("begun before").into_inner();
    assert_eq!(again.renewal_payment_id, asked.renewal_payment_id);
}
