//! Python: the peer that judges what we put on the wire.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::environment::setting;

const TIMEOUT: Duration = Duration::from_secs(120);

/// The interpreter of the environment with celery, flower, cloudpayments, grpcio… (`deploy/local/requirements.txt`).
/// Their commands (`celery`) stand beside it.
pub fn python() -> PathBuf {
    let python = PathBuf::from(setting("TEST_PYTHON"));
    assert!(python.exists(), "{} is missing: run `deploy/local/services.sh install`", python.display());
    python
}

/// The interpreter of the environment with Celery 5.5 (`deploy/local/requirements-5.5.txt`).
pub fn python_with_celery_5_5() -> PathBuf {
    let python = python();
    let environment = python.ancestors().nth(2).expect("it is in bin/ of its environment");
    environment.join("celery-5.5/bin/python")
}

/// Runs a script to its end and returns what it printed; panics with its error output when it fails or takes more
/// than two minutes.
pub async fn run_python<A: AsRef<OsStr>>(script: impl AsRef<Path>, arguments: impl IntoIterator<Item = A>) -> String {
    let script = script.as_ref();
    let mut command = Command::new(python());
    command.arg(script).args(arguments).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output())
        .await
        .unwrap_or_else(|_| panic!("{} did not end within {TIMEOUT:?}", script.display()))
        .expect("the interpreter exists");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{} ended with {}\n{printed}\n{}",
        script.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}
