//! A worker with everything around it: database, queue, gateway.

use std::collections::HashMap;
use std::time::Duration;

use billing::payment::PaymentState;
use billing::store::orphans::{self, Orphan};
use billing::store::payments::{self, NewPayment, PaymentView};
use billing::store::{accounts, tariffs};
use billing::tasks::ChargePayment;
use billing::{AccountId, PaymentId, Services, ServicesConfig, clock};
use celeriac::backend::StoredResult;
use celeriac::protocol::ResultMeta;
use celeriac::{Failure, SendOptions, Task};
use chrono::{DateTime, Utc};
use clap::Parser;
use cloudpayments_sandbox::Sandbox;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use serde_json::{Value, json};
use testkit::TestDatabase;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Test cards of the gateway.
pub(crate) const PAYS: &str = "4000000000003055";
pub(crate) const ASKS_THREE_DS: &str = "4242424242424242";
pub(crate) const HAS_NO_FUNDS: &str = "4000056655665556";
/// Pays once; its token is declined later.
pub(crate) const PAYS_ONCE: &str = "4111111111111111";

pub(crate) const SOON: Duration = Duration::from_secs(30);
/// The longest that a tick takes: ten thousand renewals are opened by one, on a busy machine.
const A_TICK: Duration = Duration::from_secs(300);

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    worker: billing_worker::Config,
    #[command(flatten)]
    services: ServicesConfig,
}

/// A running worker. Everything ends with it.
pub(crate) struct World {
    pub(crate) services: Services,
    pub(crate) sandbox: Sandbox,
    arguments: Vec<String>,
    http: reqwest::Client,
    stop: CancellationToken,
    database: TestDatabase,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With other settings than those of an impatient worker.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        Self::beside(Self::sandbox(), settings).await
    }

    pub(crate) fn sandbox() -> cloudpayments_sandbox::Config {
        cloudpayments_sandbox::Config { max_concurrent: 30, ..cloudpayments_sandbox::Config::for_tests() }
    }

    /// Likewise, with another gateway.
    pub(crate) async fn beside(gateway: cloudpayments_sandbox::Config, settings: &[&str]) -> Self {
        // Whoever is first installs it; the others find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let database = testkit::postgres_from_template("billing-worker", |url| async move {
            let db = billing::db::Db::connect(&url, 1).await?;
            db.migrate().await?;
            tariffs::seed(&mut *db.conn().await?, &tariffs::defaults(), clock::now()).await?;
            Ok(())
        })
        .await;
        let sandbox = Sandbox::start(gateway).await.unwrap();
        let memory = format!("memory://{}", PaymentId::new());
        let gateway = sandbox.url();
        let mut arguments = vec![
            "worker",
            "--database-url",
            database.url(),
            "--broker-url",
            &memory,
            "--result-backend",
            &memory,
            "--gateway-url",
            &gateway,
            "--gateway-timeout",
            "1s",
            "--resolve-first-look",
            "100ms",
            "--resolve-look-only",
            "400ms",
            "--stranded-after",
            "0s",
            // A gateway that is left alone is a test of its own.
            "--gateway-breaker-failures",
            "1000",
            "--gateway-breaker-calls",
            "1000",
        ];
        for (name, value) in settings.iter().zip(settings.iter().skip(1)).step_by(2) {
            let at = arguments.iter().position(|argument| argument == name);
            match at {
                Some(at) => arguments[at + 1] = value,
                None => arguments.extend([name, value]),
            }
        }
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let stop = CancellationToken::new();
        let services = start_worker(&arguments, &stop).await;
        Self { services, sandbox, arguments, http: reqwest::Client::new(), stop, database }
    }

    /// Another worker like the first, with connections of its own.
    pub(crate) async fn is_joined_by_another(&self) {
        start_worker(&self.arguments, &self.stop).await;
    }

    /// The most requests that the gateway has had at a time.
    pub(crate) async fn most_at_the_gateway(&self) -> u64 {
        let answer = self.http.get(format!("{}/sandbox/load", self.sandbox.url())).send().await;
        answer.unwrap().json::<Value>().await.unwrap()["most_at_once"].as_u64().unwrap()
    }

    /// As many subscribers, written into the tables, whose renewals are all due.
    pub(crate) async fn are_due(&self, subscribers: usize) {
        let sql = include_str!("../../../billing/tests/subscribers.sql");
        let sql = sql.replace(":n", &subscribers.to_string()).replace(":last", "now() - interval '32 days'");
        let mut conn = self.services.db.conn().await.unwrap();
        conn.batch_execute(&format!("begin; {sql} commit;")).await.unwrap();
    }

    /// Ends the worker; what it does comes to its end.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// One more worker with the same settings. Aborting it is its sudden death.
    pub(crate) fn another(&self, name: &str) -> JoinHandle<anyhow::Result<()>> {
        let Options { worker, .. } = Options::parse_from(&self.arguments);
        let config = billing_worker::Config { worker_name: Some(name.to_owned()), ..worker };
        tokio::spawn(billing_worker::run(config, self.services.clone(), billing_worker::Stop::default()))
    }

    /// A new account and its first payment for so many days or months, written down and not sent to a worker.
    pub(crate) async fn created(&self, card: &str, period: (u32, u32)) -> PaymentView {
        self.created_at(clock::now(), card, period).await
    }

    /// Likewise, some time ago.
    pub(crate) async fn created_at(&self, now: DateTime<Utc>, card: &str, (months, days): (u32, u32)) -> PaymentView {
        let account_id = AccountId::new();
        let mut conn = self.services.db.conn().await.unwrap();
        accounts::register(&mut conn, account_id, self.services.time_zone, clock::now()).await.unwrap();
        let on_sale = tariffs::list(&mut conn, clock::now()).await.unwrap();
        let tariff = on_sale.into_iter().find(|on_sale| on_sale.period.months_and_days() == (months, days));
        let new = NewPayment {
            account_id,
            tariff_id: tariff.expect("a seeded tariff").id,
            cryptogram: cloudpayments_sandbox::cryptogram(card, "12/39", "123").unwrap().into(),
            ip_address: "203.0.113.7".parse().unwrap(),
            idempotency_key: PaymentId::new().to_string(),
            trial: None,
            now,
        };
        payments::create(&mut conn, new, &self.services.cipher).await.unwrap().payment
    }

    /// Another payment of the same customer for the same, begun then and not sent to a worker.
    pub(crate) async fn pays_anew(&self, left: &PaymentView, now: DateTime<Utc>) -> PaymentView {
        let new = NewPayment {
            account_id: left.account_id,
            tariff_id: left.tariff_id,
            cryptogram: cloudpayments_sandbox::cryptogram(PAYS, "12/39", "123").unwrap().into(),
            ip_address: "203.0.113.7".parse().unwrap(),
            idempotency_key: PaymentId::new().to_string(),
            trial: None,
            now,
        };
        let mut conn = self.services.db.conn().await.unwrap();
        payments::create(&mut conn, new, &self.services.cipher).await.unwrap().payment
    }

    /// A first payment for a month that a worker was told of.
    pub(crate) async fn pays(&self, card: &str) -> PaymentView {
        let payment = self.created(card, MONTH).await;
        self.charge(payment.id).await;
        payment
    }

    pub(crate) async fn charge(&self, payment_id: PaymentId) {
        let options = SendOptions::new().task_id(ChargePayment::task_id(payment_id));
        self.services.app.send_with(ChargePayment { payment_id }, options).await.unwrap();
    }

    /// Support moves the end of a paid day to today: its renewal is due.
    pub(crate) async fn ends_today(&self, account_id: AccountId) {
        let mut conn = self.services.db.conn().await.unwrap();
        let account = accounts::get(&mut conn, account_id).await.unwrap().unwrap();
        let today = account.expires_on().unwrap().pred_opt().unwrap();
        assert!(accounts::move_expiration(&mut conn, account_id, today).await.unwrap());
    }

    /// Runs a task of the timetable to its end; answers what it answers.
    pub(crate) async fn tick<T: Task>(&self, task: T) -> Value {
        // The timetable stores no results; a test wants to know when it has ended.
        let options = SendOptions::new().ignore_result(false);
        let id = self.services.app.send_with(task, options).await.unwrap().id().to_owned();
        self.services.app.result::<Value>(id).get(A_TICK).await.unwrap()
    }

    pub(crate) async fn payment(&self, id: PaymentId) -> PaymentView {
        let mut conn = self.services.db.conn().await.unwrap();
        payments::get(&mut conn, id).await.unwrap().unwrap()
    }

    /// Waits until the payment is in this state.
    pub(crate) async fn ends_as(&self, id: PaymentId, state: PaymentState) -> PaymentView {
        testkit::eventually(SOON, || async {
            let payment = self.payment(id).await;
            if payment.state == state { Ok(payment) } else { Err(payment) }
        })
        .await
    }

    /// The next request of this account meets a fault.
    pub(crate) async fn fault(&self, account_id: AccountId, fault: Value) {
        let mut order = json!({ "match": { "account_id": account_id.to_string() }, "times": 1 });
        for (name, value) in fault.as_object().unwrap() {
            order[name] = value.clone();
        }
        self.order(order).await;
    }

    /// Orders a fault as the sandbox takes it.
    pub(crate) async fn order(&self, fault: Value) {
        let answer = self.http.post(format!("{}/sandbox/faults", self.sandbox.url())).json(&fault).send().await;
        answer.unwrap().error_for_status().unwrap();
    }

    /// Gives money back as by hand in the gateway's cabinet: all that is left, or a part.
    pub(crate) async fn refund(&self, order: Value) {
        let answer = self.http.post(format!("{}/sandbox/refunds", self.sandbox.url())).json(&order).send().await;
        answer.unwrap().error_for_status().unwrap();
    }

    /// What the gateway has under an invoice number.
    pub(crate) async fn ledger(&self, invoice_no: i64) -> Vec<Value> {
        let url = format!("{}/sandbox/ledger?invoice_id={invoice_no}", self.sandbox.url());
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Whether the account may watch.
    pub(crate) async fn has_access(&self, account_id: AccountId) -> bool {
        let mut conn = self.services.db.conn().await.unwrap();
        accounts::get(&mut conn, account_id).await.unwrap().unwrap().access(clock::now()).has_access
    }

    /// What waits for a person in place of a payment.
    pub(crate) async fn orphans(&self, id: PaymentId) -> Vec<Orphan> {
        let mut conn = self.services.db.conn().await.unwrap();
        orphans::of_payment(&mut conn, id).await.unwrap()
    }

    /// Changes rows as nothing in the program does.
    pub(crate) async fn sql(&self, statement: &str) {
        let mut conn = self.services.db.conn().await.unwrap();
        diesel::sql_query(statement).execute(&mut *conn).await.unwrap();
    }

    /// The timetable has the payment looked at until it is in this state.
    pub(crate) async fn is_resolved_as(&self, id: PaymentId, state: PaymentState) -> PaymentView {
        testkit::eventually(SOON, || async {
            self.tick(billing::tasks::ResolveUnknown {}).await;
            let payment = self.payment(id).await;
            if payment.state == state { Ok(payment) } else { Err(payment) }
        })
        .await
    }

    /// The faults that nobody has met yet.
    pub(crate) async fn faults(&self) -> Vec<Value> {
        let answer = self.http.get(format!("{}/sandbox/faults", self.sandbox.url())).send().await;
        answer.unwrap().json().await.unwrap()
    }

    /// How many requests will meet a fault yet.
    pub(crate) async fn faults_left(&self) -> u64 {
        self.faults().await.iter().filter_map(|fault| fault["times"].as_u64()).sum()
    }

    /// The gateway is well again.
    pub(crate) async fn mend(&self) {
        let answer = self.http.delete(format!("{}/sandbox/faults", self.sandbox.url())).send().await;
        answer.unwrap().error_for_status().unwrap();
    }

    /// How many rows there are.
    pub(crate) async fn count(&self, from: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            n: i64,
        }
        let mut conn = self.services.db.conn().await.unwrap();
        let query = diesel::sql_query(format!("select count(*) as n from {from}"));
        query.get_result::<Count>(&mut *conn).await.unwrap().n
    }

    /// What a worker leaves behind that parks a message whose workers have died.
    pub(crate) async fn is_poison(&self, task_id: String) {
        let failure = Failure::new("WorkerLostError", ["delivered 5 times"]).with_module("billiard.exceptions");
        let meta = ResultMeta::failure(task_id.clone(), &failure, clock::now()).to_json();
        self.services.app.backend().store(&[StoredResult { task_id, meta, is_final: true }]).await.unwrap();
    }

    /// The bank's answer reaches the gateway, and we know nothing of it.
    pub(crate) async fn post_behind_our_back(&self, payment: &PaymentView, pa_res: &str) {
        let order = json!({ "TransactionId": payment.transaction_id, "PaRes": pa_res });
        let request = self.http.post(format!("{}/payments/cards/post3ds", self.sandbox.url()));
        let answer = request.basic_auth("pk_sandbox", Some("sk_sandbox")).json(&order).send().await;
        let answer: Value = answer.unwrap().error_for_status().unwrap().json().await.unwrap();
        assert_eq!(answer["Success"], true, "{answer}");
    }

    /// An order at the gateway that no worker of ours has sent.
    pub(crate) async fn at_the_gateway(&self, path: &str, order: Value, request_id: &str) {
        let request = self.http.post(format!("{}{path}", self.sandbox.url())).header("X-Request-ID", request_id);
        let response = request.basic_auth("pk_sandbox", Some("sk_sandbox")).json(&order).send().await;
        let response: Value = response.unwrap().error_for_status().unwrap().json().await.unwrap();
        assert_eq!(response["Success"], true, "{response}");
    }

    /// A payment by a condition.
    pub(crate) async fn id_of(&self, from: &str) -> PaymentId {
        #[derive(diesel::QueryableByName)]
        struct Id {
            #[diesel(sql_type = diesel::sql_types::Uuid)]
            id: PaymentId,
        }
        let mut conn = self.services.db.conn().await.unwrap();
        diesel::sql_query(format!("select id from {from}")).get_result::<Id>(&mut *conn).await.unwrap().id
    }

    /// The database is copied; things go on; then it is as the copy was. Sessions end with the database they were of, and the
    /// worker is started anew on the restored one, with an empty queue.
    pub(crate) async fn backed_up_and_goes_on<T>(&mut self, goes_on: impl AsyncFnOnce(&Self) -> T) -> T {
        // Nobody may be connected to what is copied.
        self.stop.cancel();
        let backup = testkit::copy_of(&self.database).await;
        self.start_anew(None).await;
        let done = goes_on(self).await;
        self.stop.cancel();
        self.start_anew(Some(backup)).await;
        done
    }

    /// A new worker with a new queue, on the same database or another.
    async fn start_anew(&mut self, database: Option<TestDatabase>) {
        if let Some(database) = database {
            self.database = database;
        }
        let memory = format!("memory://{}", PaymentId::new());
        for (name, value) in [
            ("--database-url", self.database.url().to_owned()),
            ("--broker-url", memory.clone()),
            ("--result-backend", memory),
        ] {
            let at = self.arguments.iter().position(|argument| argument == name).expect("it is set");
            self.arguments[at + 1] = value;
        }
        self.stop = CancellationToken::new();
        self.services = start_worker(&self.arguments, &self.stop).await;
    }

    /// How often the gateway took money from this account, by the attempt it was for.
    pub(crate) async fn charged(&self, account_id: AccountId) -> HashMap<String, usize> {
        let url = format!("{}/sandbox/ledger?account_id={account_id}", self.sandbox.url());
        let entries: Vec<Value> = self.http.get(url).send().await.unwrap().json().await.unwrap();
        let mut charged = HashMap::new();
        for entry in entries.iter().filter(|entry| entry["type"] == "Payment" && entry["status"] == "Completed") {
            *charged.entry(entry["invoice_id"].to_string()).or_default() += 1;
        }
        charged
    }

    /// Fails unless the gateway took money exactly so often, each time for another attempt.
    pub(crate) async fn assert_charged(&self, account_id: AccountId, times: usize) {
        let charged = self.charged(account_id).await;
        assert!(charged.len() == times && charged.values().all(|count| *count == 1), "{charged:?}, not {times}");
    }

    /// The bank's page, answered.
    pub(crate) async fn answer_bank(&self, payment: &PaymentView, answer: &str) -> String {
        let three_ds = payment.three_ds.as_ref().expect("the bank asks");
        let md = three_ds.md.to_string();
        let form = [
            ("PaReq", three_ds.pa_req.as_str()),
            ("MD", &md),
            ("TermUrl", "https://cinema.example/"),
            ("answer", answer),
        ];
        let url = format!("{}/acs/answer", self.sandbox.url());
        let posted = self.http.post(url).header("accept", "application/json").form(&form).send().await;
        let answered: Value = posted.unwrap().error_for_status().unwrap().json().await.unwrap();
        answered["PaRes"].as_str().unwrap().to_owned()
    }
}

async fn start_worker(arguments: &[String], stop: &CancellationToken) -> Services {
    let Options { worker, services } = Options::parse_from(arguments);
    let services = services.connect().await.unwrap();
    let stop = billing_worker::Stop { warm: stop.clone(), ..billing_worker::Stop::default() };
    tokio::spawn(billing_worker::run(worker, services.clone(), stop));
    services
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) const MONTH: (u32, u32) = (1, 0);
pub(crate) const DAY: (u32, u32) = (0, 1);
