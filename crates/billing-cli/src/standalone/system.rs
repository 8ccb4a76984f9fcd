//! The roles of a standalone system, started in order and stopped in the other.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use billing::payment::identity::Terminal;
use billing::staff::{Role, password};
use billing::store::staff::{self, By};
use billing::{Services, store};
use billing_api::LocalKey;
use billing_worker::Stop;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "embedded")]
use super::postgres::EmbeddedPostgres;
use super::{ACT_TOKEN, EMBEDDED, SANDBOX, StandaloneConfig, browser_key};
use crate::dashboard::{About, Bound};
use crate::demo::DemoConfig;
use crate::demo::month::{self, Month};
use crate::exit::{self, Exit};
use crate::roles;
use crate::signals::Signals;

/// How long the roles have to end after a signal.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// A running system.
pub(crate) struct System {
    api: SocketAddr,
    dashboard: SocketAddr,
    admin: SocketAddr,
    /// The name of somebody of the staff and the password that lets them in once, until they have chosen their own.
    first_staff: Option<(&'static str, SecretString)>,
    sandbox: SocketAddr,
    /// What was played before the roles began.
    month: Option<Month>,
    data_dir: PathBuf,
    /// Held as long as the system runs.
    _data_lock: File,
    roles: JoinSet<(&'static str, anyhow::Result<()>)>,
    /// Ends the roles that work; the sandbox they work with ends after them.
    stop_roles: CancellationToken,
    stop_sandbox: CancellationToken,
    sandbox_task: tokio::task::JoinHandle<()>,
    services: Services,
    #[cfg(feature = "embedded")]
    postgres: Option<EmbeddedPostgres>,
}

impl System {
    /// Takes the directory and the ports first, so that a taken one is told before anything else happens.
    pub(crate) async fn start(mut config: StandaloneConfig, signals: &Signals) -> Result<Self, Exit> {
        let data_lock = lock(&config.data_dir)?;
        config.sandbox.ledger_file.get_or_insert_with(|| config.data_dir.join("sandbox-ledger.jsonl"));
        let key_file = browser_key(&config.data_dir);
        let key = LocalKey::open_or_make(&key_file).map_err(|error| {
            Exit::configuration(anyhow::anyhow!("BILLING_DATA_DIR: {}: {error}", key_file.display()))
        })?;
        key.configure(&mut config.api.browsers);
        take_notifications(&mut config);
        let api = billing_api::bind(config.api).await.map_err(roles::api_error)?;
        if let Some(address) = api.notifications_addr() {
            let url = format!("http://{address}/notifications").parse().context("NOTIFICATIONS_LISTEN")?;
            config.sandbox.notifications_url.get_or_insert(url);
        }
        let sandbox = cloudpayments_sandbox::bind(config.sandbox).await.map_err(roles::sandbox_error)?;
        let dashboard = Bound::bind(config.dashboard).await?;
        let (api_address, dashboard_address) = (api.local_addr(), dashboard.address());
        let queues = format!("http://{dashboard_address}").parse().context("DASHBOARD_LISTEN")?;
        config.admin.admin_dashboard.get_or_insert(queues);
        let admin = billing_admin::bind(config.admin).await.map_err(roles::admin_error)?;
        let admin_address = admin.local_addr();
        let sandbox_address = sandbox.address();
        if config.worker.gateway_url == SANDBOX {
            config.worker.gateway_url = format!("http://{sandbox_address}");
        }
        config.worker.check().map_err(Exit::configuration)?;

        #[cfg(feature = "embedded")]
        let postgres = embed_postgres(&mut config.services, &config.data_dir).await?;
        #[cfg(not(feature = "embedded"))]
        refuse_embedded(&config.services)?;
        let connect_within = config.services.connect_within;
        let services = roles::connect(config.services, signals).await?;
        services.db.migrate().await.context("DATABASE_URL: cannot migrate")?;
        // Before the first migration nobody could be asked.
        let admitted = billing::services::admit(&services.db, &services.cipher, connect_within).await;
        admitted.map_err(roles::services_error)?;
        store::tariffs::seed(&mut *services.db.conn().await?, &store::tariffs::defaults(), services.db.now()).await?;

        let first_staff = first_staff(&services).await?;
        let month = if config.demo_month { play_month(&sandbox, &services).await? } else { None };

        let (stop_roles, stop_sandbox) = (CancellationToken::new(), CancellationToken::new());
        let sandbox_task = tokio::spawn({
            let stop = stop_sandbox.clone();
            async move { sandbox.serve(stop).await }
        });
        let about = About {
            app: services.app.clone(),
            result_backend: services.result_backend.clone(),
            time_zone: services.time_zone,
            timetable: config.beat.clone(),
        };
        let dashboard = dashboard.serve(about, stop_roles.clone()).await?;
        let mut running = JoinSet::new();
        running.spawn(async move {
            dashboard.await;
            ("dashboard", Ok(()))
        });
        let (for_admin, stop_admin) = (services.clone(), stop_roles.clone());
        running.spawn(async move {
            admin.run(for_admin, stop_admin).await;
            ("admin", Ok(()))
        });
        let (for_api, for_worker, for_beat) = (services.clone(), services.clone(), services.clone());
        let (stop_api, stop_worker, stop_beat) = (stop_roles.clone(), stop_roles.clone(), stop_roles.clone());
        running.spawn(async move { ("api", api.run(for_api, stop_api).await) });
        let stop_worker = Stop { warm: stop_worker, ..signals.stop.clone() };
        running.spawn(async move { ("worker", billing_worker::run(config.worker, for_worker, stop_worker).await) });
        running.spawn(async move {
            let beat = async {
                crate::telemetry::watched(billing_beat::prepare(config.beat, for_beat).await?).run(stop_beat).await;
                anyhow::Ok(())
            };
            ("beat", beat.await)
        });
        Ok(Self {
            api: api_address,
            dashboard: dashboard_address,
            admin: admin_address,
            first_staff,
            sandbox: sandbox_address,
            month,
            data_dir: config.data_dir,
            _data_lock: data_lock,
            roles: running,
            stop_roles,
            stop_sandbox,
            sandbox_task,
            services,
            #[cfg(feature = "embedded")]
            postgres,
        })
    }

    pub(crate) fn demo_config(&self) -> anyhow::Result<DemoConfig> {
        DemoConfig::against(self.api, self.sandbox, self.services.db.clone())
    }

    /// Says where everything is, and how long it took to get there.
    #[expect(clippy::print_stdout, reason = "this is for the person who started it")]
    pub(crate) fn introduce(&self, took: Duration, stays: bool) {
        let Self { api, dashboard, admin, first_staff, sandbox, data_dir, services, .. } = self;
        let how_it_ends = if stays { "Ctrl-C stops it." } else { "It ends with the demo." };
        println!("Billing is up after {:.2} s. {how_it_ends}\n", took.as_secs_f64());
        println!("  gRPC API   http://{api}   (reflection, health and grpc-web are on)");
        println!("  dashboard  http://{dashboard}   workers, tasks, queues; {ACT_TOKEN} lets you act");
        match first_staff {
            Some((name, password)) => {
                let password = password.expose_secret();
                println!(
                    "  admin      http://{admin}   sign in as {name} with {password}, then choose a password of yours"
                );
            }
            None => println!(
                "  admin      http://{admin}   accounts, bills, payments; billing staff reset lets you in again"
            ),
        }
        println!("  sandbox    http://{sandbox}   test cards, the gateway's ledger");
        println!("  database   {}", services.db.address());
        println!("  broker     {}", services.app.broker().address());
        println!("  data       {}\n", data_dir.display());
        println!(
            "  tokens     frontend-dev (tariffs, payments, subscriptions)   auth-dev (accounts, access)   mailer-dev (events)   panel-dev (staff),"
        );
        println!("             unless API_TOKENS says others; of an account's browser: billing token --account UUID");
        println!(
            "  try        grpcurl -plaintext -H 'authorization: Bearer frontend-dev' {api} billing.v1.Tariffs/ListTariffs"
        );
    }

    /// Where a newcomer to the panel may begin.
    #[expect(clippy::print_stdout, reason = "this is for the person who started it")]
    pub(crate) fn tell_month(&self) {
        let Some(Month { subscribers, cases }) = &self.month else { return };
        println!(
            "\n{subscribers} subscribers have come and gone in the last weeks. Find out in the panel why this one"
        );
        for (id, what) in cases {
            println!("  {what}\n    http://{}/accounts/{id}", self.admin);
        }
    }

    /// Until a signal, or until a role ends that should not; answers the exit status that stands for it.
    pub(crate) async fn wait(&mut self, signals: &Signals) -> u8 {
        tokio::select! {
            () = signals.stop.warm.cancelled() => exit::OK,
            ended = self.roles.join_next() => {
                if let Some(Ok((role, result))) = ended {
                    tracing::error!(role, ?result, "a role ended, so everything does");
                }
                exit::SOFTWARE
            }
        }
    }

    /// First who works, then what they work with.
    pub(crate) async fn stop(self, signals: &Signals) -> anyhow::Result<()> {
        let Self { mut roles, stop_roles, stop_sandbox, sandbox_task, services, _data_lock, .. } = self;
        stop_roles.cancel();
        let ending = async {
            while let Some(ended) = roles.join_next().await {
                if let Ok((role, Err(error))) = ended {
                    tracing::error!(role, "{}", exit::told(&error));
                }
            }
            stop_sandbox.cancel();
            sandbox_task.await.context("the sandbox")?;
            services.app.close().await;
            drop(services);
            #[cfg(feature = "embedded")]
            if let Some(postgres) = self.postgres {
                postgres.stop().await?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = tokio::time::timeout(STOP_WITHIN, ending) => ended.unwrap_or_else(|_| {
                tracing::warn!("not everything ended in {STOP_WITHIN:?}; what is unfinished is found at the next start");
                Ok(())
            }),
            () = signals.stop.soft.cancelled() => Ok(()),
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is for the person who started it")]
async fn play_month(sandbox: &cloudpayments_sandbox::Bound, services: &Services) -> anyhow::Result<Option<Month>> {
    let db = &services.db;
    let mut conn = db.conn().await?;
    println!("Playing a month of subscribers for the panel: a minute, and only this once …");
    let played = month::play(&mut conn, sandbox, &services.cipher, services.time_zone, db.now()).await;
    played.context("the month of the demo cannot be played")
}

/// Lets somebody into the panel who has not chosen a password yet, with a new one at each start.
async fn first_staff(services: &Services) -> anyhow::Result<Option<(&'static str, SecretString)>> {
    const NAME: &str = "chief";
    let (db, by) = (&services.db, By::command_line("billing standalone"));
    let mut conn = db.conn().await?;
    let known = staff::by_name(&mut conn, NAME).await?;
    if known.as_ref().is_some_and(|(known, _)| !known.is_one_time) {
        return Ok(None);
    }
    let password = password::one_time();
    let hash = password::hash(&password);
    match known {
        None => drop(staff::add(&mut conn, NAME, Role::ChiefAccountant, &hash, &by, db.now()).await?),
        Some(_) => staff::reset(&mut conn, NAME, &hash, &by, db.now()).await?,
    }
    Ok(Some((NAME, password)))
}

/// Makes the directory and takes it: two systems would write into each other's files.
fn lock(data_dir: &Path) -> Result<File, Exit> {
    let shown = data_dir.display();
    let unusable = |error| Exit::configuration(anyhow::anyhow!("BILLING_DATA_DIR: cannot use {shown}: {error}"));
    std::fs::create_dir_all(data_dir).map_err(unusable)?;
    let file = File::create(data_dir.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Exit::unavailable(anyhow::anyhow!("BILLING_DATA_DIR: {shown} is in use by another billing standalone")))
        }
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Starts the embedded `PostgreSQL` if the configuration asks for it, and points the services at it.
/// The gateway here signs with the secret that the worker shows it.
fn take_notifications(config: &mut StandaloneConfig) {
    let secret = config.worker.cloudpayments_api_secret.clone();
    let terminal = match config.worker.gateway_url.as_str() {
        SANDBOX => config.worker.cloudpayments_terminal.unwrap_or(Terminal::Test),
        _ => config.worker.terminal(),
    };
    let notifications = &mut config.api.notifications;
    notifications.api_secrets.get_or_insert(secret);
    notifications.terminal.get_or_insert(terminal);
}

#[cfg(feature = "embedded")]
async fn embed_postgres(
    services: &mut billing::ServicesConfig,
    data_dir: &Path,
) -> anyhow::Result<Option<EmbeddedPostgres>> {
    if services.database_url.expose_secret() != EMBEDDED {
        return Ok(None);
    }
    let postgres = EmbeddedPostgres::start(&data_dir.join("postgres")).await?;
    services.database_url = postgres.url().to_owned().into();
    services.database_pool_size = 1;
    Ok(Some(postgres))
}

#[cfg(not(feature = "embedded"))]
fn refuse_embedded(services: &billing::ServicesConfig) -> Result<(), Exit> {
    if services.database_url.expose_secret() == EMBEDDED {
        return Err(Exit::configuration(anyhow::anyhow!(
            "DATABASE_URL: this build has no embedded PostgreSQL (cargo feature `embedded`); give the address of a server"
        )));
    }
    Ok(())
}
