//! The gateway's list beside our rows: every page of it, each thing once, and money that was found late is taken.

use billing::clock;
use billing::payment::PaymentState;
use billing::reconciliation::{DifferenceKind, DifferenceState, Phase, Range, RunKind};
use billing::store::reconciliation::{self as store, Difference, Filter, Run};
use billing::tasks::Reconcile;
use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::world::{PAYS, SOON, World};

impl World {
    /// Everything of the last hour, and what comes within the next.
    async fn ordered(&self) -> Run {
        let now = clock::now();
        let range = Range { from: now - TimeDelta::hours(1), to: now + TimeDelta::hours(1) };
        let mut conn = self.services.db.conn().await.unwrap();
        let run = store::ask(&mut conn, RunKind::Asked, range, "anna", now).await.unwrap();
        self.services.app.send(Reconcile { reconciliation_id: run.id }).await.unwrap();
        run
    }

    async fn reconciled(&self) -> Run {
        let run = self.ordered().await;
        testkit::eventually(SOON, || async {
            let mut conn = self.services.db.conn().await.unwrap();
            let run = store::get(&mut conn, run.id).await.unwrap().unwrap();
            if run.phase == Phase::Ended { Ok(run) } else { Err(run) }
        })
        .await
    }

    async fn differences(&self) -> Vec<Difference> {
        let mut conn = self.services.db.conn().await.unwrap();
        store::list(&mut conn, Filter::default(), 1_000).await.unwrap()
    }

    /// Charges a card at the gateway as another system would, or as we did before a backup; returns the transaction.
    async fn charge_behind_our_back(&self, invoice_id: &str, account_id: &str, data: serde_json::Value) -> i64 {
        let order = json!({
            "Amount": 399.0, "Currency": "RUB", "IpAddress": "203.0.113.7", "InvoiceId": invoice_id, "AccountId": account_id,
            "CardCryptogramPacket": cloudpayments_sandbox::cryptogram(PAYS, "12/39", "123").unwrap(), "JsonData": data,
        });
        let request = reqwest::Client::new().post(format!("{}/payments/cards/charge", self.sandbox.url()));
        let answer = request.basic_auth("pk_sandbox", Some("sk_sandbox")).json(&order).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(answer["Success"], true, "{answer}");
        answer["Model"]["TransactionId"].as_i64().unwrap()
    }
}

fn kinds(differences: &[Difference]) -> Vec<(DifferenceKind, DifferenceState)> {
    let mut kinds: Vec<_> = differences.iter().map(|found| (found.kind, found.state)).collect();
    kinds.sort();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agrees_leaves_no_difference_and_what_does_not_leaves_one() {
    let world = World::start().await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let run = world.reconciled().await;
    assert_eq!((run.transactions, run.payments, run.found, run.is_stable), (1, 1, 0, Some(true)));

    let transaction_id = world.charge_behind_our_back("another-system-1", "somebody", json!({ "order": 7 })).await;
    for _ in 0..2 {
        let run = world.reconciled().await;
        assert_eq!((run.transactions, run.found), (2, 1));
    }
    let found = world.differences().await;
    assert_eq!(kinds(&found), [(DifferenceKind::MissingHere, DifferenceState::Open)]);
    assert_eq!(found[0].subject, format!("transaction:{transaction_id}"));
    assert!(found[0].at <= Utc::now());
}

#[tokio::test(flavor = "multi_thread")]
async fn money_of_a_payment_believed_dead_is_taken() {
    let world = World::start().await;
    let payment = world.created(PAYS, (1, 0)).await;
    // The gateway has it, and a person has closed it here as not executed.
    let data = json!({ "payment_id": payment.id.to_string(), "bill_id": payment.bill_id.to_string() });
    let invoice = payment.identity(billing::payment::identity::Terminal::Test).invoice_no.to_string();
    world.charge_behind_our_back(&invoice, &payment.account_id.to_string(), data).await;
    world.sql("update payment set state = 'not_executed', is_success = false, finished_at = now()").await;
    world.sql("update bill set status = 'Not paid', card_cryptogram_packet = null").await;
    assert!(!world.has_access(payment.account_id).await);

    let run = world.reconciled().await;
    assert_eq!((run.found, run.settled), (1, 1));
    assert_eq!(world.payment(payment.id).await.state, PaymentState::Succeeded);
    assert!(world.has_access(payment.account_id).await);
    let found = world.differences().await;
    assert_eq!(kinds(&found), [(DifferenceKind::Status, DifferenceState::Resolved)]);
    assert_eq!(found[0].decided_by.as_deref(), Some(store::RECONCILIATION));
}
