//! The billing system in processes of its own, on a database and queues of its own.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Client, NoTls};

use crate::servers::Servers;

/// Names the client of the API that may do everything.
pub const TOKEN: &str = "Bearer bench-only";
const TOKENS: &str = "bench:bench-only:tariffs+payments+accounts+access";
const STARTS_WITHIN: Duration = Duration::from_secs(30);
const SETTLES_WITHIN: Duration = Duration::from_secs(120);
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// In the order in which they are started.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    Sandbox,
    Worker,
    Api,
}

pub struct System {
    pub api: String,
    database: Database,
    /// One of each [`Role`].
    roles: Vec<Child>,
}

impl System {
    /// Starts the gateway's sandbox, one API and one worker; they send traces to a collector if there is one.
    pub async fn start(servers: &Servers, collector: Option<&str>) -> Result<Self> {
        let database = Database::migrated(servers).await?;
        let (api, sandbox) = (free_address()?, free_address()?);
        let gateway = format!("http://{sandbox}");
        let mut settings = vec![
            ("DATABASE_URL", database.url.as_str()),
            ("BROKER_URL", servers.amqp.as_str()),
            ("RESULT_BACKEND", servers.redis.as_str()),
            ("GATEWAY_URL", gateway.as_str()),
            ("GATEWAY_MAX_IN_FLIGHT", "64"),
            ("API_LISTEN", api.as_str()),
            ("API_TOKENS", TOKENS),
            ("SANDBOX_LISTEN", sandbox.as_str()),
            ("SANDBOX_MAX_CONCURRENT", "1000"),
            ("LOG", "warn"),
        ];
        settings.extend(collector.map(|url| ("OTEL_EXPORTER_OTLP_ENDPOINT", url)));
        let role = |name| role(&settings, &[name]);
        let roles = vec![role("sandbox")?, role("worker")?, role("api")?];
        let system = Self { api: format!("http://{api}"), database, roles };
        for address in [sandbox, api] {
            answers(&address).await?;
        }
        Ok(system)
    }

    /// The process of a role.
    pub fn pid(&self, role: Role) -> u32 {
        self.roles[role as usize].id().expect("it runs until it is stopped")
    }

    /// Waits until so many payments have ended well.
    pub async fn settle(&self, payments: usize) -> Result<()> {
        let (deadline, payments) = (Instant::now() + SETTLES_WITHIN, i64::try_from(payments)?);
        while self.database.count("select count(*) from payment where state = 'succeeded'").await? < payments {
            ensure!(Instant::now() < deadline, "not all payments were settled in time");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    pub async fn analyze(&self) -> Result<()> {
        self.database.execute("analyze").await
    }

    /// Every bill is paid, once, and every account has what it paid for.
    pub async fn check(&self, payments: usize) -> Result<()> {
        let payments = i64::try_from(payments)?;
        for (what, query) in [
            ("payments", "select count(*) from payment"),
            ("paid bills", "select count(*) from bill where status = 'Paid' and card_cryptogram_packet is null"),
            ("running accounts", "select count(*) from account where status = 'Active' and payment_token is not null"),
        ] {
            let counted = self.database.count(query).await?;
            ensure!(counted == payments, "{counted} {what} of {payments}");
        }
        Ok(())
    }

    /// Stops everything; the database stays.
    pub async fn stop(mut self) -> Result<Database> {
        for role in self.roles.iter_mut().rev() {
            let pid = role.id().context("it runs")?;
            Command::new("kill").arg(pid.to_string()).status().await?;
            timeout(STOPS_WITHIN, role.wait()).await.context("a role does not stop")??;
        }
        Ok(self.database)
    }
}

/// A role of the billing system as a process of its own, which ends with the value.
pub fn role(settings: &[(&str, &str)], arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("billing").args(arguments).envs(settings.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("{command:?}"))
}

/// A database that is dropped when it is no longer needed.
pub struct Database {
    pub url: String,
    client: Client,
    server: Client,
    pub name: String,
}

impl Database {
    /// A new one, with the tariffs on sale.
    pub async fn migrated(servers: &Servers) -> Result<Self> {
        let database = Self::create(servers).await?;
        let settings = [("DATABASE_URL", database.url.as_str()), ("LOG", "warn")];
        ensure!(role(&settings, &["migrate", "--seed"])?.wait().await?.success(), "the database is not migrated");
        Ok(database)
    }

    async fn create(servers: &Servers) -> Result<Self> {
        let server = connect(&servers.postgres).await?;
        let name = format!("bench_{}_{}", std::process::id(), crate::job::unix_micros());
        server.batch_execute(&format!("create database {name}")).await?;
        let (prefix, _) = servers.postgres.rsplit_once('/').context("an address with a database")?;
        let url = format!("{prefix}/{name}");
        Ok(Self { client: connect(&url).await?, server, url, name })
    }

    pub async fn count(&self, query: &str) -> Result<i64> {
        Ok(self.client.query_one(query, &[]).await?.try_get(0)?)
    }

    pub async fn text(&self, query: &str) -> Result<String> {
        Ok(self.client.query_one(query, &[]).await?.try_get(0)?)
    }

    pub async fn execute(&self, statements: &str) -> Result<()> {
        Ok(self.client.batch_execute(statements).await?)
    }

    pub async fn drop(self) -> Result<()> {
        drop(self.client);
        Ok(self.server.batch_execute(&format!("drop database {} with (force)", self.name)).await?)
    }
}

pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

pub fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

pub async fn answers(address: &str) -> Result<()> {
    let deadline = Instant::now() + STARTS_WITHIN;
    while tokio::net::TcpStream::connect(address).await.is_err() {
        ensure!(Instant::now() < deadline, "nobody answers at {address}");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
