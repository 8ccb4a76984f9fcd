//! The whole system in one process, with nothing installed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{Process, Signal};

const PATIENCE: Duration = Duration::from_secs(120);

async fn standalone(data: &Path, arguments: &[&str], customize: impl FnOnce(&mut Command)) -> Process {
    let arguments = [&["standalone"], arguments].concat();
    Process::billing(&arguments, |command| {
        command.env("BILLING_DATA_DIR", data).env("API_LISTEN", "127.0.0.1:0").env("SANDBOX_LISTEN", "127.0.0.1:0");
        customize(command);
    })
    .await
}

#[tokio::test]
async fn the_demo_passes_with_nothing_installed_and_a_second_run_keeps_the_data_of_the_first() {
    let data = tempfile::tempdir().unwrap();
    for run in ["first", "second"] {
        let mut process = standalone(data.path(), &["--demo-and-exit"], |_| ()).await;
        let ended = process.wait(PATIENCE).await;
        assert!(ended.success(), "{run}: {}", process.output());
    }
    let ledger = std::fs::read_to_string(data.path().join("sandbox-ledger.jsonl")).unwrap();
    assert!(ledger.lines().count() > 10, "the second run forgot the ledger of the first: {ledger}");
}

#[tokio::test]
async fn a_signal_stops_it_cleanly_and_it_starts_again_on_the_same_data() {
    let data = tempfile::tempdir().unwrap();
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let mut process = standalone(data.path(), &[], |_| ()).await;
        process.wait_for_line("Billing is up", PATIENCE).await;
        process.signal(signal);
        assert!(process.wait(Duration::from_secs(5)).await.success(), "{}", process.output());
    }
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_name_of_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for variable in ["API_LISTEN", "SANDBOX_LISTEN"] {
        let data = tempfile::tempdir().unwrap();
        let mut process = standalone(data.path(), &[], |command| {
            command.env(variable, &address);
        })
        .await;
        assert_eq!(process.wait(PATIENCE).await.code(), Some(69), "{}", process.output());
        assert!(process.output().contains(variable), "{}", process.output());
    }
}
