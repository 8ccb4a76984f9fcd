//! An API that runs, with everything behind it.

use std::net::SocketAddr;
use std::time::Duration;

use billing::db::Db;
use billing::{Services, ServicesConfig, clock, store};
use billing_api::proto::access_client::AccessClient;
use billing_api::proto::payments_client::PaymentsClient;
use billing_api::proto::tariffs_client::TariffsClient;
use billing_api::proto::{
    CreatePaymentRequest, ListTariffsRequest, Payment, RegisterAccountRequest, Tariff, WatchPaymentRequest,
};
use billing_api::{Config, bind};
use clap::Parser;
use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use http::uri::PathAndQuery;
use testkit::{RedisDb, TestDatabase, Vhost};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

/// Tokens of the clients that the default configuration knows.
pub(crate) const FRONTEND: &str = "frontend-dev";
pub(crate) const AUTH: &str = "auth-dev";
pub(crate) const MAILER: &str = "mailer-dev";
pub(crate) const PANEL: &str = "panel-dev";

/// How long anything may take that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) const CRYPTOGRAM: &str = "01492500008719030128SMfLeYdKp5dSQVIiO5l6ZCJiPdel4uDjdFTTz1UnXY";

/// A running API. Stops with this value.
pub(crate) struct World {
    pub(crate) services: Services,
    pub(crate) address: SocketAddr,
    /// Where notifications are taken.
    pub(crate) notifications: Option<SocketAddr>,
    pub(crate) shutdown: CancellationToken,
    /// One connection for all that is never said.
    silence: Channel,
    running: Option<JoinHandle<anyhow::Result<()>>>,
    // Dropped last, after who uses them.
    _behind: Behind,
}

/// What the API stands on.
struct Behind {
    _database: TestDatabase,
    _servers: Option<(Vhost, RedisDb)>,
}

/// The options of one command, as the binary reads them.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    services: ServicesConfig,
    #[command(flatten)]
    api: Config,
}

/// Where to find the servers.
pub(crate) struct Addresses {
    pub(crate) database: String,
    pub(crate) broker: String,
    pub(crate) backend: String,
}

impl Addresses {
    pub(crate) fn in_memory(database: &TestDatabase) -> Self {
        let memory = format!("memory://{}", Uuid::new_v4());
        Self { database: database.url().to_owned(), broker: memory.clone(), backend: memory }
    }
}

impl World {
    /// On PostgreSQL, with broker and result backend in memory.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Likewise, with other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let database = database().await;
        let addresses = Addresses::in_memory(&database);
        Self::on(&addresses, Behind { _database: database, _servers: None }, change).await
    }

    /// On PostgreSQL, RabbitMQ and Redis.
    pub(crate) async fn on_real_servers(change: impl FnOnce(&mut Config)) -> Self {
        let (database, vhost, redis) = (database().await, testkit::rabbitmq().await, testkit::redis().await);
        let addresses = Addresses {
            database: database.url().to_owned(),
            broker: vhost.amqp_url(),
            backend: redis.url().to_owned(),
        };
        Self::on(&addresses, Behind { _database: database, _servers: Some((vhost, redis)) }, change).await
    }

    /// On servers at these addresses, for example behind proxies.
    pub(crate) async fn at(
        addresses: &Addresses,
        database: TestDatabase,
        servers: Option<(Vhost, RedisDb)>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::on(addresses, Behind { _database: database, _servers: servers }, change).await
    }

    async fn on(addresses: &Addresses, behind: Behind, change: impl FnOnce(&mut Config)) -> Self {
        let Options { services, mut api } = options(addresses);
        change(&mut api);
        let services = services.connect().await.expect("the services answer");
        let bound = bind(api).await.expect("a free port");
        let (address, shutdown) = (bound.local_addr(), CancellationToken::new());
        let notifications = bound.notifications_addr();
        let running = tokio::spawn(bound.run(services.clone(), shutdown.clone()));
        let silence = Endpoint::from_shared(format!("http://{address}")).expect("a URL").connect_lazy();
        Self { services, address, notifications, shutdown, silence, running: Some(running), _behind: behind }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A connection of its own.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url()).expect("a URL").connect_lazy()
    }

    pub(crate) fn tariffs(&self) -> TariffsClient<Channel> {
        TariffsClient::new(self.channel())
    }

    pub(crate) fn payments(&self) -> PaymentsClient<Channel> {
        PaymentsClient::new(self.channel())
    }

    pub(crate) fn access(&self) -> AccessClient<Channel> {
        AccessClient::new(self.channel())
    }

    /// The cheapest tariff on sale.
    pub(crate) async fn tariff(&self) -> Tariff {
        let answer = self.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect("tariffs");
        answer.into_inner().tariffs.into_iter().next().expect("three are seeded")
    }

    /// A new account.
    pub(crate) async fn account(&self) -> String {
        let account_id = Uuid::new_v4().to_string();
        let request = RegisterAccountRequest { account_id: account_id.clone() };
        self.access().register_account(by(AUTH, request)).await.expect("registered");
        account_id
    }

    /// A sound request of a new account.
    pub(crate) async fn order(&self) -> CreatePaymentRequest {
        CreatePaymentRequest {
            account_id: self.account().await,
            tariff_id: self.tariff().await.tariff_id,
            card_cryptogram_packet: CRYPTOGRAM.to_owned(),
            ip_address: "203.0.113.7".to_owned(),
            idempotency_key: Uuid::new_v4().to_string(),
            trial: None,
        }
    }

    /// A new payment of a new account.
    pub(crate) async fn payment(&self) -> Payment {
        let order = self.order().await;
        self.payments().create_payment(by(FRONTEND, order)).await.expect("created").into_inner()
    }

    pub(crate) async fn watch(&self, payment_id: &str) -> Streaming<Payment> {
        let request = WatchPaymentRequest { payment_id: payment_id.to_owned() };
        self.payments().watch_payment(by(FRONTEND, request)).await.expect("a stream").into_inner()
    }

    /// Calls a method and never sends its message; answers with what the server says to that.
    pub(crate) fn never_says(&self, method: &'static str, token: Option<&str>) -> impl Future<Output = Status> + use<> {
        let (channel, mut request) = (self.silence.clone(), Request::new(futures_util::stream::pending::<()>()));
        if let Some(token) = token {
            request = by(token, futures_util::stream::pending());
        }
        async move {
            let mut client = tonic::client::Grpc::new(channel);
            client.ready().await.expect("a connection");
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let answer = client.streaming(request, PathAndQuery::from_static(method), codec).await;
            match answer {
                Err(status) => status,
                Ok(answers) => match answers.into_inner().message().await {
                    Ok(_) => Status::ok("the server ended the stream"),
                    Err(status) => status,
                },
            }
        }
    }

    /// Messages waiting for the workers.
    pub(crate) async fn waiting(&self) -> u64 {
        let depth = self.services.app.broker().queue_depth("payments").await.expect("the broker answers");
        depth.map_or(0, |depth| depth.messages)
    }

    /// Rows of account, bill and payment.
    pub(crate) async fn rows(&self) -> (i64, i64, i64) {
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let mut conn = self.services.db.conn().await.expect("the database answers");
        let mut counts = Vec::new();
        for table in ["account", "bill", "payment"] {
            let query = diesel::sql_query(format!("select count(*) as n from {table}"));
            counts.push(query.get_result::<Count>(&mut conn).await.expect("a count").n);
        }
        (counts[0], counts[1], counts[2])
    }

    /// Stops the API and waits for its end.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.running.take().expect("stopped once").await.expect("no panic")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A migrated database with three tariffs.
pub(crate) async fn database() -> TestDatabase {
    testkit::postgres_from_template("billing", async |url| {
        let db = Db::connect(&url, 1).await?;
        db.migrate().await?;
        let tariffs = store::tariffs::defaults();
        store::tariffs::seed(&mut *db.conn().await?, &tariffs, clock::now()).await?;
        Ok(())
    })
    .await
}

fn options(addresses: &Addresses) -> Options {
    Options::parse_from([
        "api",
        "--database-url",
        &addresses.database,
        "--broker-url",
        &addresses.broker,
        "--result-backend",
        &addresses.backend,
        "--api-listen",
        "127.0.0.1:0",
    ])
}

/// Settings that work, on a port the system chooses.
pub(crate) fn config() -> Config {
    options(&Addresses { database: String::new(), broker: String::new(), backend: String::new() }).api
}

/// A request with a bearer token.
pub(crate) fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    request
}
