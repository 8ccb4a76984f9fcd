//! A server of the test's own, to be stopped, restarted and killed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::sync::OnceCell;

use crate::environment::{services_script, setting};
use crate::names;

/// RabbitMQ, started for this test alone (some seconds).
pub async fn own_rabbitmq() -> OwnServer {
    OwnServer::create("rabbitmq", "TEST_AMQP_URL", &[]).await
}

/// Three RabbitMQs in one cluster, started for this test alone (some tens of seconds). The first must be the last to go: the
/// port mapper of all is its own.
pub async fn own_rabbitmq_cluster() -> [OwnServer; 3] {
    let first = own_rabbitmq().await;
    let peer = first.directory.to_string_lossy().into_owned();
    let environment = [("SERVICES_PEER", peer.as_str())];
    let member = || OwnServer::create("rabbitmq", "TEST_AMQP_URL", &environment);
    let (second, third) = tokio::join!(member(), member());
    [third, second, first]
}

/// Redis, started for this test alone. A restart empties it.
pub async fn own_redis() -> OwnServer {
    OwnServer::create("redis", "TEST_REDIS_URL", &[]).await
}

/// PostgreSQL, started for this test alone.
pub async fn own_postgres() -> OwnServer {
    OwnServer::create("postgres", "TEST_DATABASE_URL", &[]).await
}

/// PostgreSQL, started for this test alone, with these variables in its environment.
pub async fn own_postgres_with(environment: &[(&str, &str)]) -> OwnServer {
    OwnServer::create("postgres", "TEST_DATABASE_URL", environment).await
}

/// A server with its own directory and ports, which stay the same over restarts. Removed with this value.
pub struct OwnServer {
    name: &'static str,
    url_setting: &'static str,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    settings: HashMap<String, String>,
}

impl OwnServer {
    async fn create(name: &'static str, url_setting: &'static str, environment: &[(&str, &str)]) -> Self {
        static SWEPT: OnceCell<()> = OnceCell::const_new();
        let parent = Path::new(&setting("TEST_SERVICES_DIR")).join("own");
        SWEPT.get_or_init(|| remove_orphans(&parent)).await;
        let directory = parent.join(names::unique());
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut server = Self { name, url_setting, directory, environment, settings: HashMap::new() };
        server.start().await;
        server
    }

    /// Where it listens, with user and password: `amqp://…`, `redis://…` or `postgres://…/postgres`.
    pub fn url(&self) -> &str {
        &self.settings[self.url_setting]
    }

    /// The management API of a RabbitMQ, `http://user:password@127.0.0.1:port`.
    pub fn management_url(&self) -> &str {
        &self.settings["TEST_RABBITMQ_API"]
    }

    /// Starts it, on the same ports with what it had stored, and returns when it answers.
    pub async fn start(&mut self) {
        let arguments = ["start".as_ref(), self.name.as_ref(), self.directory.as_os_str()];
        services_in(&self.environment, arguments).await;
        self.settings = read_settings(&self.directory.join("env"));
    }

    /// Stops it in order: connections are closed, what is durable is kept.
    pub async fn stop(&self) {
        services(["stop".as_ref(), self.directory.as_os_str()]).await;
    }

    /// `stop`, then `start`.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Runs RabbitMQ's own `rabbitmqctl`, in the environment of the server: it needs its cookie and its port mapper.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) {
        let pid = &self.settings["TEST_RABBITMQ_PID"];
        let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("the server runs");
        let environment = environment.split('\0').filter_map(|variable| variable.split_once('='));
        let output = tokio::process::Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl")
            .args(arguments)
            .envs(environment.filter(|(name, _)| matches!(*name, "HOME" | "RABBITMQ_NODENAME" | "ERL_EPMD_PORT")))
            .stdin(Stdio::null())
            .output()
            .await
            .expect("rabbitmqctl runs");
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {output:?}");
    }

    /// What it has logged since it was started for the first time.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.directory.join("log")).unwrap_or_default()).into_owned()
    }

    /// Lets it stand still, with all its sockets open, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = &self.settings[&format!("TEST_{}_PID", self.name.to_uppercase())];
        let sent = std::process::Command::new("kill").arg(format!("-{name}")).arg(pid).status();
        assert!(sent.expect("kill is everywhere").success(), "{} has ended before SIG{name}", self.name);
    }

    /// `kill -9`.
    pub async fn kill(&self) {
        services(["kill".as_ref(), self.directory.as_os_str()]).await;
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // PostgreSQL killed outright would leave shared memory behind.
        let verb = if self.name == "postgres" { "stop" } else { "kill" };
        let ended = std::process::Command::new(services_script()).arg(verb).arg(&self.directory).output();
        if ended.is_ok_and(|output| output.status.success()) {
            // What can't be removed goes with the directory of all services.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

async fn services<const N: usize>(arguments: [&OsStr; N]) {
    services_in(&[], arguments).await;
}

async fn services_in<const N: usize>(environment: &[(String, String)], arguments: [&OsStr; N]) {
    let mut command = tokio::process::Command::new(services_script());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.args(arguments).stdin(Stdio::null()).output().await.expect("services.sh runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "services.sh {arguments:?}: {}\n{said}", output.status);
}

/// Servers of tests that were killed.
async fn remove_orphans(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if names::is_orphan(&entry.file_name().to_string_lossy()) {
            services(["kill".as_ref(), entry.path().as_os_str()]).await;
            // Another process may be at it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn read_settings(file: &Path) -> HashMap<String, String> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
