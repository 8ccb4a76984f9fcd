//! What the API and its streams ask of the database while there are very many accounts: no call may read a large table from
//! end to end. PostgreSQL counts such reads itself, also those of triggers and foreign keys. (`plans.rs` of the crate
//! `billing` does the same for every statement at 20,000 accounts.)

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use billing_api::proto::access_client::AccessClient;
use billing_api::proto::events_client::EventsClient;
use billing_api::proto::payments_client::PaymentsClient;
use billing_api::proto::subscriptions_client::SubscriptionsClient;
use billing_api::proto::{
    BatchCheckAccessRequest, CancelRequest, ChangeTariffRequest, CheckAccessRequest, CloseAccountRequest, EventKind,
    ForgetCardRequest, GetBillRequest, GetPaymentRequest, GetSubscriptionRequest, ListBillsRequest,
    ListPaymentsRequest, PreviewChangeRequest, RegisterAccountRequest, ResumeRequest, WatchAccessRequest,
    WatchEventsRequest, WatchPaymentRequest,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

use crate::payments::authorized;
use crate::payments::system::{Database, answers, free_address, role};
use crate::renewals::stop;
use crate::servers::Servers;

const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// More than a page of either stream.
const OF_A_STREAM: usize = 3_000;

/// Calls the API about accounts of this database, and fails if a table of a large one was read from end to end. Returns
/// the slowest call, in milliseconds.
pub async fn check(servers: &Servers, database: &Database, is_large: bool) -> Result<f64> {
    let before = whole_reads(database).await?;
    let api = free_address()?;
    let settings = [
        ("DATABASE_URL", database.url.as_str()),
        ("BROKER_URL", servers.amqp.as_str()),
        ("RESULT_BACKEND", servers.redis.as_str()),
        ("API_LISTEN", api.as_str()),
        ("API_TOKENS", "bench:bench-only:payments+accounts+access+events+subscriptions"),
        ("LOG", "error"),
    ];
    let mut server = role(&settings, &["api"])?;
    answers(&api).await?;
    let channel = Endpoint::from_shared(format!("http://{api}"))?.connect().await?;
    let slowest = call(&channel, database).await?;
    // Whose connections have ended has told PostgreSQL all that it did.
    stop(&mut server).await?;
    let deadline = Instant::now() + ANSWERS_WITHIN;
    while database.count("select count(*) from pg_stat_activity where datname = current_database()").await? > 1 {
        ensure!(Instant::now() < deadline, "connections of the API stay");
        sleep(Duration::from_millis(50)).await;
    }
    let after = whole_reads(database).await?;
    let read: Vec<_> = after.iter().filter(|(table, reads)| before.get(*table).unwrap_or(&0) < *reads).collect();
    ensure!(read.is_empty() || !is_large, "large tables were read from end to end: {read:?}");
    Ok(slowest)
}

/// How often each large table was read from end to end.
async fn whole_reads(database: &Database) -> Result<BTreeMap<String, i64>> {
    let query = "select coalesce(json_object_agg(relname, seq_scan), '{}')::text
        from pg_stat_user_tables where n_live_tup >= 1000";
    Ok(serde_json::from_str(&database.text(query).await?)?)
}

/// The calls, one after the other.
struct Calls {
    slowest: f64,
}

impl Calls {
    async fn time<T>(&mut self, name: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let answer = timeout(ANSWERS_WITHIN, call).await.with_context(|| format!("{name} does not end"))?;
        self.slowest = self.slowest.max(began.elapsed().as_secs_f64() * 1e3);
        answer.with_context(|| name.to_owned())
    }

    /// What is asked may be refused: it is what is read for that which counts.
    async fn ask<T: Debug>(
        &mut self,
        name: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<()> {
        self.time(name, async {
            match call.await {
                Ok(_) => Ok(()),
                Err(status) => {
                    let is_refusal = matches!(status.code(), tonic::Code::FailedPrecondition | tonic::Code::NotFound);
                    ensure!(is_refusal, "{:?}: {}", status.code(), status.message());
                    Ok(())
                }
            }
        })
        .await
    }

    async fn receive<T>(
        &mut self,
        name: &str,
        call: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
        messages: usize,
    ) -> Result<()> {
        self.time(name, async {
            let mut stream = call.await?.into_inner();
            for n in 0..messages {
                ensure!(stream.message().await?.is_some(), "the stream ended after {n} messages");
            }
            Ok(())
        })
        .await
    }
}

async fn call(channel: &Channel, database: &Database) -> Result<f64> {
    let one = "select account_id::text from bill where kind = 'primary' order by account_id limit 1";
    let account_id = database.text(one).await?;
    let about =
        |what: &str| format!("select id::text from {what} where account_id = '{account_id}' order by id limit 1");
    let bill_id = database.text(&about("bill")).await?;
    let payment = format!("select id::text from payment where bill_id = '{bill_id}' limit 1");
    let payment_id = database.text(&payment).await?;
    let tariff_id = database.text("select id::text from tariff order by amount desc limit 1").await?;
    let many = "select string_agg(id::text, ' ') from (select id from account order by id limit 1000) as first";
    let account_ids: Vec<String> = database.text(many).await?.split(' ').map(str::to_owned).collect();
    let id = || account_id.clone();
    let mut keys = 0;
    let mut key = || {
        keys += 1;
        format!("key-{keys}")
    };
    let mut calls = Calls { slowest: 0.0 };

    let mut access = AccessClient::new(channel.clone());
    let registered = RegisterAccountRequest { account_id: "00000000-0000-4000-8000-000000000002".to_owned() };
    calls.ask("RegisterAccount", access.register_account(authorized(registered)?)).await?;
    calls.ask("CheckAccess", access.check_access(authorized(CheckAccessRequest { account_id: id() })?)).await?;
    calls
        .ask("BatchCheckAccess", access.batch_check_access(authorized(BatchCheckAccessRequest { account_ids })?))
        .await?;
    let anew = WatchAccessRequest { resume_token: String::new() };
    calls.receive("WatchAccess", access.watch_access(authorized(anew)?), OF_A_STREAM).await?;

    // From the end of the log on, and then from where that was left.
    let mut events = EventsClient::new(channel.clone());
    let mut resume_token = String::new();
    for (n, kinds) in [Vec::new(), vec![EventKind::AccountRegistered as i32]].into_iter().enumerate() {
        let request = WatchEventsRequest { resume_token, kinds };
        let account_id = format!("00000000-0000-4000-8000-00000000010{n}");
        let registered = RegisterAccountRequest { account_id };
        resume_token = calls
            .time("Events.Watch", async {
                let mut stream = events.watch(authorized(request)?).await?.into_inner();
                access.register_account(authorized(registered)?).await?;
                Ok(stream.message().await?.context("the stream ended")?.resume_token)
            })
            .await?;
    }

    let mut payments = PaymentsClient::new(channel.clone());
    let request = GetPaymentRequest { payment_id: payment_id.clone() };
    calls.ask("GetPayment", payments.get_payment(authorized(request)?)).await?;
    let request = WatchPaymentRequest { payment_id };
    calls.receive("WatchPayment", payments.watch_payment(authorized(request)?), 1).await?;

    let mut subscriptions = SubscriptionsClient::new(channel.clone());
    let request = GetSubscriptionRequest { account_id: id() };
    calls.ask("GetSubscription", subscriptions.get_subscription(authorized(request)?)).await?;
    let request = ListPaymentsRequest { account_id: id(), page_size: 100, page_token: String::new() };
    calls.ask("ListPayments", subscriptions.list_payments(authorized(request)?)).await?;
    let request = ListBillsRequest { account_id: id(), page_size: 100, page_token: String::new() };
    calls.ask("ListBills", subscriptions.list_bills(authorized(request)?)).await?;
    calls.ask("GetBill", subscriptions.get_bill(authorized(GetBillRequest { bill_id })?)).await?;
    let request = PreviewChangeRequest { account_id: id(), tariff_id: tariff_id.clone() };
    calls.ask("PreviewChange", subscriptions.preview_change(authorized(request)?)).await?;
    let request = ChangeTariffRequest {
        account_id: id(),
        tariff_id,
        idempotency_key: key(),
        at_once: false,
        previewed_amount_kopecks: 0,
    };
    calls.ask("ChangeTariff", subscriptions.change_tariff(authorized(request)?)).await?;
    let request = CancelRequest { account_id: id(), idempotency_key: key() };
    calls.ask("Cancel", subscriptions.cancel(authorized(request)?)).await?;
    let request = ResumeRequest { account_id: id(), idempotency_key: key() };
    calls.ask("Resume", subscriptions.resume(authorized(request)?)).await?;
    let request = ForgetCardRequest { account_id: id(), idempotency_key: key() };
    calls.ask("ForgetCard", subscriptions.forget_card(authorized(request)?)).await?;
    let request = CloseAccountRequest { account_id: id(), access_ends_at_once: true, idempotency_key: key() };
    calls.ask("CloseAccount", subscriptions.close_account(authorized(request)?)).await?;
    Ok(calls.slowest)
}
