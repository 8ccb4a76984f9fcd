//! PgBouncer in front of a database.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use url::Url;

use crate::{Process, eventually, free_port};

const DEBIAN: &str = "/usr/sbin/pgbouncer";

/// A pooler of the test's own; ends with this value.
pub struct PgBouncer {
    url: String,
    _process: Process,
    _directory: TempDir,
}

impl PgBouncer {
    /// Where the database is to be reached through the pooler.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Starts Debian's PgBouncer (1.18: before it kept prepared statements apart) in front of the database at `database`, in
/// the `pool_mode` given: `transaction` or `session`.
pub async fn pgbouncer(database: &str, pool_mode: &str) -> PgBouncer {
    let mut url = Url::parse(database).expect("the address of a database is a URL");
    let (host, port) = (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(5432));
    let (user, password) = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
    let own_port = free_port();
    let directory = TempDir::with_prefix("pgbouncer-").expect("a temporary directory");
    // It does not run as root; whoever it runs as reads these.
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("our own directory");
    let (settings, users) = (directory.path().join("pgbouncer.ini"), directory.path().join("users"));
    std::fs::write(&users, format!("\"{user}\" \"{password}\"\n")).expect("the directory is new");
    let text = format!(
        "[databases]\n* = host={host} port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own_port}\n\
         unix_socket_dir =\nauth_type = plain\nauth_file = {}\npool_mode = {pool_mode}\nmax_client_conn = 200\n\
         default_pool_size = 10\nignore_startup_parameters = extra_float_digits,options\n",
        users.display()
    );
    std::fs::write(&settings, text).expect("the directory is new");
    // Debian keeps it where only daemons are looked for.
    let mut command = Command::new(if Path::new(DEBIAN).exists() { DEBIAN } else { "pgbouncer" });
    // As root it must be told whom to become.
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        command.args(["-u", "nobody"]);
    }
    command.arg(&settings);
    let process = Process::spawn("pgbouncer", command);
    eventually(Duration::from_secs(20), || async {
        TcpStream::connect(("127.0.0.1", own_port)).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    url.set_port(Some(own_port)).expect("a URL with a host");
    PgBouncer { url: url.into(), _process: process, _directory: directory }
}
