//! The clients that shops use, from PyPI and npm, unmodified: each call they have.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::shop::Shop;

/// Runs a shop of `tests/it` and hears that all its assertions held.
async fn run(program: PathBuf, script: &str, environment: &[(&str, PathBuf)]) {
    let shop = Shop::open().await;
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).join(script);
    let mut command = Command::new(program);
    command.arg(script).arg(shop.url("/")).envs(environment.iter().cloned());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("it ends").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "all is as told", "{errors}");
}

/// `.venv/` of `services.sh install`.
fn installed() -> PathBuf {
    testkit::python().ancestors().nth(2).unwrap().to_owned()
}

#[tokio::test]
async fn the_pypi_client_cloudpayments_runs_against_the_sandbox() {
    run(testkit::python(), "shop.py", &[]).await;
}

#[tokio::test]
async fn the_pypi_client_aiocloudpayments_runs_against_the_sandbox_and_believes_its_notifications() {
    run(installed().join("aiocloudpayments/bin/python"), "shop_aio.py", &[]).await;
}

#[tokio::test]
async fn the_npm_client_cloudpayments_runs_against_the_sandbox_and_believes_its_notifications() {
    let modules = installed().join("cloudpayments-npm/node_modules");
    run("node".into(), "shop.js", &[("NODE_PATH", modules)]).await;
}
