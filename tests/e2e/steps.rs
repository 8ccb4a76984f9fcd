//! `kill -9` of a worker with payments at every step of every task that moves money: one kill finds them all at once.

use std::time::Duration;

use billing_api::proto::period::Length;
use billing_api::proto::{Payment, PaymentStatus};
use serde_json::json;
use testkit::{FaultProxy, Process, Signal};
use tokio_postgres::{Client, NoTls};

use crate::cinema::{ASKS_THREE_DS, CARD, Cinema};
use crate::system::System;

pub(crate) const PATIENCE: Duration = Duration::from_secs(240);
/// Until long after the worker is dead.
pub(crate) const FOR_GOOD: u64 = 240_000;
/// Long enough to lock a row between the request and its answer.
pub(crate) const A_WHILE: u64 = 15_000;

const CHARGE: &str = "/payments/cards/charge";
const POST_3DS: &str = "/payments/cards/post3ds";
pub(crate) const RENEW: &str = "/payments/tokens/charge";
const FIND: &str = "/v2/payments/find";
const REFUND: &str = "/payments/refund";

/// A month of who pays by card, on the bank's page when the worker is stopped if the card asks for it.
pub(crate) struct Steps {
    pub(crate) cinema: Cinema,
    pub(crate) database: Client,
    pub(crate) payments: Vec<Payment>,
}

impl Steps {
    pub(crate) async fn buys(&mut self, card: &str, length: Length) -> Payment {
        let account_id = self.cinema.sign_up().await;
        let payment = self.cinema.buy(&account_id, card, length).await;
        self.payments.push(payment.clone());
        payment
    }

    pub(crate) async fn fault(&self, payment: &Payment, path: &str, fault: &str, delay_ms: u64) {
        let matcher = json!({ "path": path, "account_id": payment.account_id });
        self.cinema.fault(json!({ "match": matcher, "fault": fault, "delay_ms": delay_ms })).await;
    }

    /// Looks of the gateway's reference name no account.
    async fn fault_of_look(&self, payment: &Payment, delay_ms: u64) {
        let sql = format!("select invoice_no from payment where id = '{}'", payment.payment_id);
        let invoice_no = self.number(&sql).await.to_string();
        let matcher = json!({ "path": FIND, "invoice_id": invoice_no });
        self.cinema.fault(json!({ "match": matcher, "fault": "delay", "delay_ms": delay_ms })).await;
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.database.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Nobody else gets past this account until the transaction of `locks` ends.
    pub(crate) async fn lock(&self, locks: &Client, payment: &Payment) {
        let sql = format!("select 1 from account where id = '{}' for update", payment.account_id);
        locks.batch_execute(&sql).await.unwrap();
    }

    /// Money of this payment goes back, and meets a fault on its way. (A refund names no account.)
    async fn gives_back(&self, payment: &Payment, fault: &str, delay_ms: u64) {
        self.cinema.fault(json!({ "match": { "path": REFUND }, "fault": fault, "delay_ms": delay_ms })).await;
        self.cinema.give_back(&payment.payment_id).await;
        let sql =
            format!("select count(*) from refund where payment_id = '{}' and state = 'sending'", payment.payment_id);
        testkit::eventually(PATIENCE, async || self.number(&sql).await == 1).await;
        testkit::eventually(PATIENCE, async || {
            let waiting = self.cinema.faults().await;
            if waiting.contains(REFUND) { Err(waiting) } else { Ok(()) }
        })
        .await;
    }

    /// The request has left: the first transaction is committed.
    pub(crate) async fn sent(&self, payment: &Payment) {
        let on_its_way = "state = 'sending' or (state = 'posting_3ds' and posts > 0)";
        let sql = format!("select count(*) from payment where id = '{}' and ({on_its_way})", payment.payment_id);
        testkit::eventually(PATIENCE, async || self.number(&sql).await == 1).await;
    }

    pub(crate) async fn all_meet_their_faults(&self) {
        testkit::eventually(PATIENCE, async || {
            let waiting = self.cinema.faults().await;
            if waiting == "[]" { Ok(()) } else { Err(waiting) }
        })
        .await;
    }

    pub(crate) async fn wait_for_locks(&self, payments: i64) {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
            and wait_event_type = 'Lock' and query ilike '%account%'";
        testkit::eventually(PATIENCE, async || {
            let seen = self.number(waiting).await;
            if seen == payments { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_any_step_charges_nobody_twice_and_loses_no_payment() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let results = FaultProxy::start(redis.url()).await;
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    let mut worker = system
        .worker_with(
            "first",
            &[
                ("RESULT_BACKEND", &results.url(redis.url())),
                // Nobody but the kill ends a request. Twice as long, and some seconds, a look that was killed is leased.
                ("GATEWAY_TIMEOUT", "45s"),
                ("DATABASE_POOL_SIZE", "40"),
                // A place for each that hangs.
                ("WORKER_LOOKUPS_CONCURRENCY", "9"),
            ],
        )
        .await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let mut steps = Steps { cinema, database: connect(system.database_url()).await, payments: Vec::new() };
    let locks = connect(system.database_url()).await;
    locks.batch_execute("begin").await.unwrap();

    // Who has been to the bank's page.
    let mut answers = Vec::new();
    for _ in 0..4 {
        let payment = steps.buys(ASKS_THREE_DS, Length::Months(1)).await;
        answers.push((steps.cinema.answered(&payment, PATIENCE).await, payment));
    }

    // Whose money goes back.
    let mut backs = Vec::new();
    for _ in 0..4 {
        let account_id = steps.cinema.sign_up().await;
        let payment = steps.cinema.pay(&account_id).await;
        backs.push(steps.cinema.outcome(&payment.payment_id, PATIENCE).await);
    }

    // The worker stands still while everything is laid out.
    worker.signal(Signal::Stop);
    for (answer, payment) in &answers {
        steps.cinema.submit(&payment.payment_id, answer).await;
    }
    let [posts_unsaid, posts_unprocessed, posts_processed, posts_answered] = [0, 1, 2, 3].map(|n| answers[n].1.clone());
    let (month, day) = (Length::Months(1), Length::Days(1));
    let unsaid = steps.buys(CARD, month).await;
    let unprocessed = steps.buys(CARD, month).await;
    let processed = steps.buys(CARD, month).await;
    let answered = steps.buys(CARD, month).await;
    let renews_unprocessed = steps.buys(CARD, day).await;
    let renews_processed = steps.buys(CARD, day).await;
    let looked_for = steps.buys(CARD, month).await;
    let repeats_unprocessed = steps.buys(CARD, month).await;
    let repeats_processed = steps.buys(CARD, month).await;

    // Before the first transaction.
    steps.lock(&locks, &unsaid).await;
    steps.lock(&locks, &posts_unsaid).await;
    steps.cinema.give_back(&backs[0].payment_id).await;
    steps.lock(&locks, &backs[0]).await;
    // The gateway has the request and has done nothing yet.
    steps.fault(&unprocessed, CHARGE, "delay_before", FOR_GOOD).await;
    steps.fault(&posts_unprocessed, POST_3DS, "delay_before", FOR_GOOD).await;
    steps.fault(&renews_unprocessed, RENEW, "delay_before", FOR_GOOD).await;
    // The gateway has charged and not answered yet.
    steps.fault(&processed, CHARGE, "delay", FOR_GOOD).await;
    steps.fault(&posts_processed, POST_3DS, "delay", FOR_GOOD).await;
    steps.fault(&renews_processed, RENEW, "delay", FOR_GOOD).await;
    // The gateway has answered, and the second transaction cannot begin.
    steps.fault(&answered, CHARGE, "delay", A_WHILE).await;
    steps.fault(&posts_answered, POST_3DS, "delay", A_WHILE).await;
    // In doubt: while the gateway is asked, and while the identical request is repeated.
    steps.fault_of_look(&looked_for, FOR_GOOD).await;
    steps.fault(&looked_for, CHARGE, "drop_after", 0).await;
    for payment in [&repeats_unprocessed, &repeats_processed] {
        steps.fault(payment, CHARGE, "drop_before", 0).await;
    }
    steps.fault(&repeats_unprocessed, CHARGE, "delay_before", FOR_GOOD).await;
    steps.fault(&repeats_processed, CHARGE, "delay", FOR_GOOD).await;

    worker.signal(Signal::Continue);
    for payment in [&answered, &posts_answered] {
        steps.sent(payment).await;
        steps.lock(&locks, payment).await;
    }
    for payment in [&renews_unprocessed, &renews_processed] {
        let paid = steps.cinema.outcome(&payment.payment_id, PATIENCE).await;
        assert_eq!(paid.status(), PaymentStatus::Succeeded);
        steps.cinema.ends_today(&steps.database, &payment.account_id).await;
    }
    // Refunds: at the gateway and not made, made and not answered, answered and not written down.
    steps.gives_back(&backs[1], "delay_before", FOR_GOOD).await;
    steps.gives_back(&backs[2], "delay", FOR_GOOD).await;
    steps.gives_back(&backs[3], "delay", A_WHILE).await;
    steps.lock(&locks, &backs[3]).await;
    steps.all_meet_their_faults().await;
    steps.wait_for_locks(6).await;
    // All is written down, and the message not acknowledged: its result cannot be stored.
    results.pause();
    let settled = steps.buys(CARD, month).await;
    let settled = steps.cinema.outcome(&settled.payment_id, PATIENCE).await;
    assert_eq!(settled.status(), PaymentStatus::Succeeded);

    worker.signal(Signal::Kill);
    worker.wait(PATIENCE).await;
    locks.batch_execute("rollback").await.unwrap();
    let _another: Process = system.worker("second").await;

    for payment in &steps.payments {
        let ended = steps.cinema.outcome(&payment.payment_id, PATIENCE).await;
        assert_eq!(ended.status(), PaymentStatus::Succeeded, "{ended:?}");
    }
    let refunds = i64::try_from(backs.len()).unwrap();
    let bills = i64::try_from(steps.payments.len()).unwrap() + 2 + refunds;
    testkit::eventually(PATIENCE, async || {
        let paid = steps.number("select count(*) from bill where status in ('Paid', 'Refunded')").await;
        if paid == bills { Ok(()) } else { Err(paid) }
    })
    .await;
    assert_eq!(steps.number("select count(*) from bill").await, bills);
    assert_eq!(steps.number("select count(*) from payment where is_success is not true").await, 0);
    testkit::eventually(PATIENCE, async || {
        let back = steps.number("select count(*) from refund where state = 'succeeded'").await;
        if back == refunds { Ok(()) } else { Err(back) }
    })
    .await;
    assert_eq!(steps.number("select count(*) from refund").await, refunds);
    assert_eq!(steps.number("select count(*) from bill where status = 'Refunded'").await, refunds);
    assert_eq!(steps.cinema.refunds_made().await, backs.len(), "given back once each");
    let secrets = "select count(*) from bill where card_cryptogram_packet is not null or pa_res is not null";
    assert_eq!(steps.number(secrets).await, 0, "what an attempt needed is wiped at its end");

    let charged = steps.cinema.successes_by_bill().await;
    assert_eq!(i64::try_from(charged.len()).unwrap(), bills);
    let twice: Vec<_> = charged.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "charged more than once: {twice:?}");
}
