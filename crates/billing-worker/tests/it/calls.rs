//! Every request to the gateway is in the table of calls, with its end, and without a secret.

use billing::PaymentId;
use billing::payment::PaymentState;
use billing::store::gateway_calls::{self, CallOutcome, GatewayCall};
use billing::tasks::{CompleteThreeDs, EndHolds};
use celeriac::SendOptions;
use serde_json::json;

use crate::three_ds::come_back;
use crate::world::{ASKS_THREE_DS, HAS_NO_FUNDS, MONTH, PAYS, World};

impl World {
    async fn calls(&self, id: PaymentId) -> Vec<GatewayCall> {
        gateway_calls::of_payment(&mut self.services.db.conn().await.unwrap(), id).await.unwrap()
    }
}

fn told(calls: &[GatewayCall]) -> Vec<(&str, Option<CallOutcome>, Option<i32>)> {
    calls.iter().map(|call| (call.path.as_str(), call.outcome, call.http_status)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_is_one_call_with_its_task_and_what_was_said() {
    let world = World::with(&["--worker-name", "one@test"]).await;
    let payment = world.pays(PAYS).await;
    let paid = world.ends_as(payment.id, PaymentState::Succeeded).await;
    let calls = world.calls(payment.id).await;
    assert_eq!(told(&calls), [("/payments/cards/charge", Some(CallOutcome::Ok), Some(200))]);
    let call = &calls[0];
    assert!(call.ended_at.unwrap() >= call.started_at);
    assert_eq!((call.task_id.as_deref(), call.attempt), (Some(&*payment.id.to_string()), 1));
    assert_eq!(call.worker.as_deref(), Some("one@test"));
    let (request, response) = (call.request.clone().unwrap(), call.response.clone().unwrap());
    assert!(request.contains(r#""Amount":399.00,"Currency":"RUB""#), "{request}");
    assert!(response.contains(&format!(r#""TransactionId":{}"#, paid.transaction_id.unwrap())), "{response}");
    for (personal, body) in [("203.0.113.7", &request), ("Cryptogram", &request), ("Token", &response)] {
        assert!(!body.contains(personal), "{personal} in {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_declined_or_did_not_process_is_told_apart_and_tries_are_counted() {
    let world = World::start().await;
    let declined = world.pays(HAS_NO_FUNDS).await;
    world.ends_as(declined.id, PaymentState::Declined).await;
    let calls = world.calls(declined.id).await;
    assert_eq!(told(&calls), [("/payments/cards/charge", Some(CallOutcome::Declined), Some(200))]);

    let busy = world.created(PAYS, MONTH).await;
    world.fault(busy.account_id, json!({ "fault": "http_429" })).await;
    world.charge(busy.id).await;
    world.ends_as(busy.id, PaymentState::Succeeded).await;
    let calls = world.calls(busy.id).await;
    let path = "/payments/cards/charge";
    assert_eq!(
        told(&calls),
        [(path, Some(CallOutcome::SafeToRetry), Some(429)), (path, Some(CallOutcome::Ok), Some(200))]
    );
    assert_eq!([calls[0].attempt, calls[1].attempt], [1, 2]);
    assert_eq!(calls[0].request_id, calls[1].request_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_after_a_lost_answer_are_calls_too() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    world.is_resolved_as(payment.id, PaymentState::Succeeded).await;
    let calls = world.calls(payment.id).await;
    assert_eq!(told(&calls[..1]), [("/payments/cards/charge", Some(CallOutcome::Unknown), None)]);
    assert_eq!(told(&calls[calls.len() - 1..]), [("/v2/payments/find", Some(CallOutcome::Ok), Some(200))]);
    assert!(calls.iter().all(|call| call.ended_at.is_some()), "{calls:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_the_banks_page_is_a_call_and_is_not_kept() {
    let world = World::start().await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    let answer = come_back(&world, &asked, "confirm").await;
    let options = SendOptions::new().task_id(CompleteThreeDs::task_id(payment.id));
    world.services.app.send_with(CompleteThreeDs { payment_id: payment.id }, options).await.unwrap();
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let calls = world.calls(payment.id).await;
    let paths: Vec<_> = calls.iter().map(|call| call.path.as_str()).collect();
    assert_eq!(paths, ["/payments/cards/charge", "/payments/cards/post3ds"]);
    let (kept, md) = (format!("{calls:?}"), asked.transaction_id.unwrap());
    assert!(kept.contains(&md.to_string()) && !kept.contains(&answer), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_confirmed_by_calls() {
    let gateway = cloudpayments_sandbox::Config { two_stage: true, ..World::sandbox() };
    let world = World::beside(gateway, &[]).await;
    let payment = world.pays(PAYS).await;
    testkit::eventually(crate::world::SOON, async || {
        world.tick(EndHolds {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    let calls = world.calls(payment.id).await;
    let confirmed: Vec<_> = calls.iter().filter(|call| call.path == "/payments/confirm").collect();
    assert_eq!(confirmed.len(), 1, "{calls:#?}");
    assert_eq!(confirmed[0].request_id.as_deref(), Some(&*format!("confirm:{}", payment.id)));
    assert!(calls.iter().all(|call| call.ended_at.is_some()), "{calls:#?}");
}
