//! The system on real servers: every role a process of its own, as in production.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use testkit::{Process, TestDatabase};

/// How long a role may take to start.
const START: Duration = Duration::from_secs(30);

/// How long a verb may take to its end.
const A_VERB: Duration = Duration::from_secs(60);

/// Settings that make the system impatient, so that a test sees in seconds what takes minutes in production.
const IMPATIENT: [(&str, &str); 15] = [
    ("GATEWAY_TIMEOUT", "2s"),
    ("GATEWAY_MAX_IN_FLIGHT", "20"),
    ("RESOLVE_FIRST_LOOK", "500ms"),
    ("GATEWAY_BREAKER_PAUSE", "1s"),
    ("RESOLVE_LOOK_ONLY", "4s"),
    ("STRANDED_AFTER", "3s"),
    ("OPEN_RENEWALS_EVERY", "1s"),
    ("REPUBLISH_STRANDED_EVERY", "1s"),
    ("RESOLVE_UNKNOWN_EVERY", "1s"),
    ("RESUME_REFUNDS_EVERY", "1s"),
    // Its requests would meet the faults of others.
    ("RECONCILE_EVERY", "24h"),
    ("SANDBOX_MAX_CONCURRENT", "100"),
    ("DATABASE_POOL_SIZE", "10"),
    ("CONNECT_WITHIN", "30s"),
    ("LOG", "info"),
];

/// A running system. Its processes end with it.
pub(crate) struct System {
    database: TestDatabase,
    pub(crate) api: SocketAddr,
    pub(crate) sandbox: SocketAddr,
    environment: Vec<(String, String)>,
    processes: Vec<Process>,
}

impl System {
    /// Migrates a fresh database and starts sandbox, API and beat. Workers are the test's.
    pub(crate) async fn start(broker_url: &str, result_backend: &str, sandbox_latency: &str) -> Self {
        Self::start_with(broker_url, result_backend, sandbox_latency, &[]).await
    }

    /// With settings of its own for all roles.
    pub(crate) async fn start_with(
        broker_url: &str,
        result_backend: &str,
        sandbox_latency: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let database = testkit::postgres().await;
        let mut environment: Vec<_> =
            IMPATIENT.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut set = |name: &str, value: &str| environment.push((name.to_owned(), value.to_owned()));
        set("DATABASE_URL", database.url());
        set("BROKER_URL", broker_url);
        set("RESULT_BACKEND", result_backend);
        set("API_LISTEN", "127.0.0.1:0");
        set("SANDBOX_LISTEN", "127.0.0.1:0");
        set("SANDBOX_LATENCY", sandbox_latency);
        settings.iter().for_each(|(name, value)| set(name, value));

        let mut migrate = role(&["migrate", "--seed"], &environment).await;
        assert!(migrate.wait(START).await.success(), "migrate:\n{}", migrate.output());
        let mut sandbox = role(&["sandbox"], &environment).await;
        let sandbox_address = listening(&mut sandbox).await;
        environment.push(("GATEWAY_URL".to_owned(), format!("http://{sandbox_address}")));
        let mut api = role(&["api"], &environment).await;
        let api_address = listening(&mut api).await;
        let beat = role(&["beat"], &environment).await;
        Self { database, api: api_address, sandbox: sandbox_address, environment, processes: vec![sandbox, api, beat] }
    }

    /// All that sandbox, API and beat have printed by now.
    pub(crate) fn output(&self) -> String {
        self.processes.iter().map(Process::output).collect()
    }

    pub(crate) fn database_url(&self) -> &str {
        self.database.url()
    }

    pub(crate) async fn worker(&self, name: &str) -> Process {
        self.worker_with(name, &[]).await
    }

    /// One more of a role, with settings of its own.
    pub(crate) async fn another(&self, name: &str, settings: &[(&str, &str)]) -> Process {
        let mut environment = self.environment.clone();
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        role(&[name], &environment).await
    }

    /// A worker with settings of its own.
    pub(crate) async fn worker_with(&self, name: &str, settings: &[(&str, &str)]) -> Process {
        let mut environment = self.environment.clone();
        environment.push(("WORKER_NAME".to_owned(), format!("{name}@e2e")));
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        role(&["worker"], &environment).await
    }

    /// A worker whose process may have so many files and connections open (`ulimit -n`).
    pub(crate) async fn worker_with_descriptors(&self, limit: u32, settings: &[(&str, &str)]) -> Process {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {limit}; exec \"$0\" worker")).arg(testkit::billing_binary().await);
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).envs(settings.iter().copied());
        Process::spawn("billing worker", command)
    }

    /// The process of the API.
    pub(crate) fn api_pid(&self) -> u32 {
        self.processes[1].pid()
    }

    /// A verb of this system, at its end: the exit status, and all that was said.
    pub(crate) async fn says(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut process = role(arguments, &self.environment).await;
        let status = process.wait(A_VERB).await.code();
        (status, process.output())
    }

    /// Plays the demo against this system.
    pub(crate) async fn demo(&self) -> Process {
        let mut environment = self.environment.clone();
        environment.push(("DEMO_API_URL".to_owned(), format!("http://{}", self.api)));
        environment.push(("DEMO_SANDBOX_URL".to_owned(), format!("http://{}", self.sandbox)));
        role(&["demo"], &environment).await
    }
}

async fn role(arguments: &[&str], environment: &[(String, String)]) -> Process {
    let set = |command: &mut Command| {
        command.envs(environment.iter().map(|(name, value)| (name, value)));
    };
    Process::billing(arguments, set).await
}

/// The address in a role's line `… listens address=HOST:PORT`.
pub(crate) async fn listening(process: &mut Process) -> SocketAddr {
    let line = process.wait_for_line("listens", START).await;
    let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
    address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"))
}
