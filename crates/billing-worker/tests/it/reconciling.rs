//! The gateway's list beside our rows: every page of it, each thing once, and money that was found late is taken.

use billing::payment::PaymentState;
use billing::payment::identity::Terminal;
use billing::reconciliation::{DifferenceKind, DifferenceState, Phase, Range, RunKind};
use billing::store::reconciliation::{self as store, Difference, Filter, Run};
use billing::tasks::Reconcile;
use billing::{ReconciliationId, clock};
use chrono::TimeDelta;
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
        self.ended(run.id).await
    }

    async fn ended(&self, id: ReconciliationId) -> Run {
        testkit::eventually(SOON, || async {
            let mut conn = self.services.db.conn().await.unwrap();
            let run = store::get(&mut conn, id).await.unwrap().unwrap();
            if run.phase == Phase::Ended { Ok(run) } else { Err(run) }
        })
        .await
    }

    async fn differences(&self) -> Vec<Difference> {
        let mut conn = self.services.db.conn().await.unwrap();
        store::list(&mut conn, Filter::default(), 1_000).await.unwrap()
    }

    /// Charges a card at the gateway as another system would, or as we did before a backup; returns the transaction.
    pub(crate) async fn charge_behind_our_back(
        &self,
        invoice_id: &str,
        account_id: &str,
        data: serde_json::Value,
    ) -> i64 {
        self.charge_so_much(399, invoice_id, account_id, data).await
    }

    async fn charge_so_much(&self, amount: i64, invoice_id: &str, account_id: &str, data: serde_json::Value) -> i64 {
        let order = json!({
            "Amount": amount, "Currency": "RUB", "IpAddress": "203.0.113.7", "InvoiceId": invoice_id, "AccountId": account_id,
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
    assert!(found[0].at <= clock::now());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_transfers_comes_to_the_bank_less_its_fee() {
    let fee = Some(cloudpayments_sandbox::Fee::parse("2.8").unwrap());
    let world = World::beside(cloudpayments_sandbox::Config { fee, ..World::sandbox() }, &[]).await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let payouts = "journal_entry where kind = 'payout'";
    world.reconciled().await;
    assert_eq!(world.count(payouts).await, 0, "not transferred yet");

    let clock = reqwest::Client::new().post(format!("{}/sandbox/clock", world.sandbox.url()));
    let moved = clock.json(&json!({ "advance_ms": 24 * 3_600_000 })).send().await.unwrap();
    assert!(moved.status().is_success());
    for _ in 0..2 {
        assert_eq!(world.reconciled().await.found, 0);
    }
    assert_eq!(world.count(payouts).await, 1);
    let kept = (payment.amount.get() * 28 + 500) / 1_000;
    for (account, amount) in [("bank", payment.amount.get() - kept), ("fees", kept), ("gateway_clearing", 0)] {
        let sum =
            format!("(select from journal_line where account = '{account}' having sum(amount) = {amount}) as sum");
        assert_eq!(world.count(&sum).await, 1, "{account} comes to {amount}");
    }
}

/// C32: a person has closed it, and the money turns up in the list of the next night.
#[tokio::test(flavor = "multi_thread")]
async fn money_of_a_payment_believed_dead_is_taken() {
    let world = World::start().await;
    let payment = world.created(PAYS, (1, 0)).await;
    // The gateway has it, and a person has closed it here as not executed.
    let data = json!({ "payment_id": payment.id.to_string(), "bill_id": payment.bill_id.to_string() });
    let invoice = payment.identity(Terminal::Test).invoice_no.to_string();
    world.charge_so_much(payment.amount.get() / 100, &invoice, &payment.account_id.to_string(), data).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_many_pages_that_grows_while_it_is_read_is_read_whole() {
    let world = World::start().await;
    for n in 0..105 {
        world.charge_behind_our_back(&format!("another-system-{n}"), "somebody", json!({ "order": n })).await;
    }
    // Each page takes so long that the list grows between two of them.
    let slow = json!({ "match": { "path": "/v2/payments/list" }, "fault": "delay", "delay_ms": 200, "times": 9 });
    world.order(slow).await;
    let run = world.ordered().await;
    testkit::eventually(SOON, || async {
        let mut conn = world.services.db.conn().await.unwrap();
        let run = store::get(&mut conn, run.id).await.unwrap().unwrap();
        if run.pages >= 1 { Ok(()) } else { Err(run) }
    })
    .await;
    for n in 200..220 {
        world.charge_behind_our_back(&format!("another-system-{n}"), "somebody", json!({ "order": n })).await;
    }
    let run = world.ended(run.id).await;
    assert_eq!((run.transactions, run.found, run.is_stable), (125, 125, Some(true)));
    assert!(run.reading >= 2 && run.pages >= 4, "{run:?}");
    let subjects: std::collections::HashSet<_> = world.differences().await.into_iter().map(|it| it.subject).collect();
    assert_eq!(subjects.len(), 125, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_by_hand_that_nobody_told_us_of_is_recognised() {
    let world = World::start().await;
    let payment = world.pays(PAYS).await;
    let payment = world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.refund(json!({ "transaction_id": payment.transaction_id, "amount": 100 })).await;
    let run = world.reconciled().await;
    assert_eq!((run.found, run.settled), (1, 1));
    let found = world.differences().await;
    assert_eq!(kinds(&found), [(DifferenceKind::RefundMissingHere, DifferenceState::Resolved)]);
    let known = format!("refund where source = 'external' and amount = 10000 and payment_id = '{}'", payment.id);
    assert_eq!(world.count(&known).await, 1);
    let run = world.reconciled().await;
    assert_eq!((run.found, run.settled), (0, 0), "it is known now");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_taken_twice_for_one_attempt_becomes_a_payment_that_is_owed_back() {
    let world = World::start().await;
    let payment = world.pays(PAYS).await;
    let payment = world.ends_as(payment.id, PaymentState::Succeeded).await;
    let data = json!({ "payment_id": payment.id.to_string(), "bill_id": payment.bill_id.to_string() });
    let invoice = payment.identity(Terminal::Test).invoice_no.to_string();
    let price = payment.amount.get() / 100;
    let second = world.charge_so_much(price, &invoice, &payment.account_id.to_string(), data).await;
    world.reconciled().await;
    let owed = format!("payment where state = 'succeeded_duplicate' and transaction_id = {second}");
    assert_eq!(world.count(&owed).await, 1);
    let found = world.differences().await;
    assert_eq!(kinds(&found), [(DifferenceKind::Duplicate, DifferenceState::Open)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timetable_compares_the_last_closed_days_once_a_day() {
    let world = World::start().await;
    assert_eq!(world.tick(billing::tasks::ReconcileDays {}).await, json!(8));
    assert_eq!(world.tick(billing::tasks::ReconcileDays {}).await, json!(0), "once a day");
    testkit::eventually(SOON, || async {
        let left = world.count("reconciliation where ended_at is null").await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(world.count("reconciliation where kind = 'daily' and is_stable").await, 8);
}

/// Each step is kept with its place, so whoever goes on finds what was done, and does it no second time.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_die_in_the_middle_of_a_run_leave_nothing_undone_and_nothing_twice() {
    let world = World::start().await;
    world.stop();
    for n in 0..12 {
        world.charge_behind_our_back(&format!("another-system-{n}"), "somebody", json!({ "order": n })).await;
    }
    let now = clock::now();
    let range = Range { from: now - TimeDelta::hours(1), to: now + TimeDelta::hours(1) };
    let run = {
        let mut conn = world.services.db.conn().await.unwrap();
        store::ask(&mut conn, RunKind::Asked, range, "anna", now).await.unwrap()
    };
    let middles = [
        ("/v2/payments/list", "pages >= 1"),
        ("/payments/get", "phase = 'settling' and cursor_difference is not null"),
    ];
    for (path, reached) in middles {
        world.order(json!({ "match": { "path": path }, "fault": "delay", "delay_ms": 250, "times": 12 })).await;
        let victim = world.another(&format!("dies at {path}"));
        world.services.app.send(Reconcile { reconciliation_id: run.id }).await.unwrap();
        testkit::eventually(SOON, || async {
            let there = world.count(&format!("reconciliation where ended_at is null and {reached}")).await;
            if there == 1 { Ok(()) } else { Err(there) }
        })
        .await;
        victim.abort();
        assert!(victim.await.is_err(), "it has died, not ended");
        world.mend().await;
        // What it had leased nobody waits for here.
        world.sql("update reconciliation set leased_until = now() - interval '1 second' where ended_at is null").await;
    }
    let last = world.another("goes on");
    world.services.app.send(Reconcile { reconciliation_id: run.id }).await.unwrap();
    let run = world.ended(run.id).await;
    assert_eq!((run.transactions, run.found, run.is_stable), (12, 12, Some(true)));
    assert_eq!(world.count("difference where kind = 'missing_here' and state = 'open'").await, 12);
    assert_eq!(world.count("event where kind = 'needs_attention'").await, 12, "each is told once");
    assert_eq!((world.count("orphan").await, world.count("journal_entry where kind = 'suspense'").await), (12, 12));
    last.abort();
}
