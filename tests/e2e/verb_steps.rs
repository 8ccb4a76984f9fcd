//! `kill -9` of a worker at every step of what follows from a subscriber's wish: a card that is verified and whose money is let
//! go, a dearer tariff at once, and what subscribers are told beforehand.

use billing_api::proto::period::Length;
use billing_api::proto::{Payment, PaymentStatus};
use testkit::Signal;

use crate::cinema::{CARD, Cinema};
use crate::steps::{A_WHILE, FOR_GOOD, PATIENCE, RENEW, Steps, connect};
use crate::system::System;

/// Pays without 3-D Secure, and is another card than [`CARD`].
const ANOTHER: &str = "5205000000003055";
const AUTH: &str = "/payments/cards/auth";
const VOID: &str = "/payments/void";

const MONTH: Length = Length::Months(1);
const YEAR: Length = Length::Months(12);

impl Steps {
    /// Somebody who has paid a month.
    async fn subscriber(&mut self) -> String {
        let payment = self.buys(CARD, MONTH).await;
        assert_eq!(self.cinema.outcome(&payment.payment_id, PATIENCE).await.status(), PaymentStatus::Succeeded);
        payment.account_id
    }

    /// The month costs more from tomorrow on.
    async fn price_rises(&self) {
        let rises = format!(
            "insert into tariff_price (tariff_id, effective_from, amount, currency, created_at)
             values ('{}', now() + interval '1 day', 49900, 'RUB', now())",
            self.cinema.tariff(MONTH)
        );
        self.database.batch_execute(&rises).await.unwrap();
    }

    /// Holds that nobody has turned to for minutes are anybody's.
    async fn verified(&self, payment: &Payment) {
        let sql = format!("select count(*) from payment where id = '{}' and state = 'verified'", payment.payment_id);
        testkit::eventually(PATIENCE, async || {
            let lease = "update payment set look_again_at = null where state = 'authorized'";
            self.database.batch_execute(lease).await.unwrap();
            self.number(&sql).await == 1
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_any_step_of_a_verb_keeps_the_wish_and_takes_no_money_twice() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let settings = [("ANNOUNCE_EVERY", "1s"), ("END_HOLDS_EVERY", "1s"), ("DATABASE_POOL_SIZE", "40")];
    let system = System::start_with(&vhost.amqp_url(), redis.url(), "0ms", &settings).await;
    let mut worker = system.worker("first").await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let mut steps = Steps { cinema, database: connect(system.database_url()).await, payments: Vec::new() };
    let locks = connect(system.database_url()).await;
    let mut subscribers = Vec::new();
    for _ in 0..10 {
        subscribers.push(steps.subscriber().await);
    }

    // All subscribers are being told of a price, and it cannot be written down.
    locks.batch_execute("begin; lock table event in share mode").await.unwrap();
    steps.price_rises().await;
    let telling = "select count(*) from pg_stat_activity where datname = current_database()
        and wait_event_type = 'Lock' and query ilike 'insert into \"event\"%'";
    testkit::eventually(PATIENCE, async || steps.number(telling).await == 1).await;
    worker.signal(Signal::Kill);
    worker.wait(PATIENCE).await;
    locks.batch_execute("rollback").await.unwrap();
    // Nobody but the kill ends a request.
    let mut worker = system.worker_with("second", &[("GATEWAY_TIMEOUT", "45s")]).await;
    let told = "select count(*) from event where kind = 'price_change_upcoming'";
    testkit::eventually(PATIENCE, async || steps.number(told).await == 10).await;

    // The worker stands still while everything is laid out.
    worker.signal(Signal::Stop);
    let mut verified = Vec::new();
    for account_id in &subscribers[..6] {
        verified.push(steps.cinema.replace_card(account_id, ANOTHER).await);
    }
    let mut changed = Vec::new();
    for account_id in &subscribers[6..] {
        changed.push(steps.cinema.change_at_once(account_id, YEAR).await);
    }
    let [unsaid, unprocessed, processed, answered, kept, let_go] = [0, 1, 2, 3, 4, 5].map(|n| &verified[n]);
    let [change_unsaid, change_unprocessed, change_processed, change_answered] = [0, 1, 2, 3].map(|n| &changed[n]);
    locks.batch_execute("begin").await.unwrap();
    // Before the first transaction.
    steps.lock(&locks, unsaid).await;
    steps.lock(&locks, change_unsaid).await;
    // The gateway has the request and has done nothing yet; or has done it and not answered yet.
    steps.fault(unprocessed, AUTH, "delay_before", FOR_GOOD).await;
    steps.fault(change_unprocessed, RENEW, "delay_before", FOR_GOOD).await;
    steps.fault(processed, AUTH, "delay", FOR_GOOD).await;
    steps.fault(change_processed, RENEW, "delay", FOR_GOOD).await;
    // The gateway has answered, and the second transaction cannot begin.
    steps.fault(answered, AUTH, "delay", A_WHILE).await;
    steps.fault(change_answered, RENEW, "delay", A_WHILE).await;
    // The card is good, and its money is to be let go.
    steps.fault(kept, VOID, "delay_before", FOR_GOOD).await;
    steps.fault(let_go, VOID, "delay", FOR_GOOD).await;

    worker.signal(Signal::Continue);
    for payment in [answered, change_answered] {
        steps.sent(payment).await;
        steps.lock(&locks, payment).await;
    }
    steps.all_meet_their_faults().await;
    steps.wait_for_locks(4).await;
    worker.signal(Signal::Kill);
    worker.wait(PATIENCE).await;
    locks.batch_execute("rollback").await.unwrap();
    let _another = system.worker("third").await;

    for payment in &verified {
        steps.verified(payment).await;
    }
    for payment in &changed {
        let ended = steps.cinema.outcome(&payment.payment_id, PATIENCE).await;
        assert_eq!(ended.status(), PaymentStatus::Succeeded, "{ended:?}");
    }
    let cards = "select count(*) from account where card::text like '%MasterCard%' and payment_token is not null";
    assert_eq!(steps.number(cards).await, 6, "the verified card is charged from now on");
    let of_year = format!("select count(*) from account where tariff_id = '{}'", steps.cinema.tariff(YEAR));
    assert_eq!(steps.number(&of_year).await, 4, "who has paid for another tariff has it");
    assert_eq!(steps.number("select count(*) from bill where kind = 'verification' and status = 'Void'").await, 6);
    assert_eq!(steps.number("select count(*) from bill where status = 'Paid'").await, 14);
    assert_eq!(steps.number("select count(*) from bill").await, 20);
    let twice = "select count(*) from (select from event where kind = 'price_change_upcoming'
        group by account_id having count(*) > 1) twice";
    assert_eq!((steps.number(told).await, steps.number(twice).await), (10, 0), "each is told once");

    let (taken, held) = tokio::join!(steps.cinema.successes_by_bill(), steps.cinema.payments_by_bill("Cancelled"));
    assert_eq!((taken.len(), held.len()), (14, 6));
    let twice: Vec<_> = taken.iter().chain(&held).filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "charged or held more than once: {twice:?}");
    assert_eq!(steps.cinema.payments_by_bill("Authorized").await.len(), 0, "no money is held any more");
}
