//! The whole system in one process, with nothing installed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use billing_api::proto::ListTariffsRequest;
use billing_api::proto::tariffs_client::TariffsClient;
use testkit::{Process, Signal};

const PATIENCE: Duration = Duration::from_secs(120);

async fn standalone(data: &Path, arguments: &[&str], customize: impl FnOnce(&mut Command)) -> Process {
    let arguments = [&["standalone"], arguments].concat();
    Process::billing(&arguments, |command| {
        command.env("BILLING_DATA_DIR", data).env("API_LISTEN", "127.0.0.1:0").env("SANDBOX_LISTEN", "127.0.0.1:0");
        command
            .env("DASHBOARD_LISTEN", "127.0.0.1:0")
            .env("ADMIN_LISTEN", "127.0.0.1:0")
            .env("NOTIFICATIONS_LISTEN", "127.0.0.1:0");
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
    for variable in ["API_LISTEN", "SANDBOX_LISTEN", "DASHBOARD_LISTEN", "NOTIFICATIONS_LISTEN", "ADMIN_LISTEN"] {
        let data = tempfile::tempdir().unwrap();
        let mut process = standalone(data.path(), &[], |command| {
            command.env(variable, &address);
        })
        .await;
        assert_eq!(process.wait(PATIENCE).await.code(), Some(69), "{}", process.output());
        assert!(process.output().contains(variable), "{}", process.output());
    }
}

#[tokio::test]
async fn a_signal_in_the_middle_of_the_start_ends_it_too() {
    let data = tempfile::tempdir().unwrap();
    // Nobody answers at this address of the database: it goes on trying.
    let nobody = format!("postgres://127.0.0.1:{}/billing", testkit::free_port());
    let mut process = standalone(data.path(), &[], |command| {
        command.env("DATABASE_URL", &nobody);
    })
    .await;
    process.wait_for_line("DATABASE_URL", PATIENCE).await;
    process.signal(Signal::Interrupt);
    assert_eq!(process.wait(Duration::from_secs(5)).await.code(), Some(130), "{}", process.output());
}

#[tokio::test]
async fn a_second_one_on_the_same_data_is_refused_and_the_first_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let mut first = standalone(data.path(), &[], |_| ()).await;
    first.wait_for_line("Billing is up", PATIENCE).await;
    let mut second = standalone(data.path(), &[], |_| ()).await;
    assert_eq!(second.wait(PATIENCE).await.code(), Some(69), "{}", second.output());
    assert!(second.output().contains("BILLING_DATA_DIR") && second.output().contains("in use"), "{}", second.output());
    first.signal(Signal::Interrupt);
    assert!(first.wait(Duration::from_secs(5)).await.success(), "{}", first.output());
}

/// Ends the demo of a system in which nothing can be paid: no worker takes the queue.
#[tokio::test]
async fn a_demo_that_is_interrupted_or_not_as_told_does_not_end_well() {
    let nobody_works = |command: &mut Command| {
        command.env("WORKER_QUEUES", "billing");
    };
    let data = tempfile::tempdir().unwrap();
    let mut interrupted = standalone(data.path(), &["--demo-and-exit"], nobody_works).await;
    interrupted.wait_for_line("signed up", PATIENCE).await;
    interrupted.signal(Signal::Interrupt);
    assert_eq!(interrupted.wait(Duration::from_secs(5)).await.code(), Some(130), "{}", interrupted.output());

    let mut system = standalone(data.path(), &[], nobody_works).await;
    let api = system.wait_for_line("gRPC API", PATIENCE).await;
    let sandbox = system.wait_for_line("sandbox  ", PATIENCE).await;
    let url = |line: &str| line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    let against = |command: &mut Command| {
        command.env("DEMO_API_URL", url(&api)).env("DEMO_SANDBOX_URL", url(&sandbox)).env("DEMO_PATIENCE", "1");
    };
    let mut demo = Process::billing(&["demo"], against).await;
    assert_eq!(demo.wait(PATIENCE).await.code(), Some(1), "{}", demo.output());
    assert!(demo.output().contains("things were not as told"), "{}", demo.output());

    let mut demo = Process::billing(&["demo"], against).await;
    demo.wait_for_line("signed up", PATIENCE).await;
    demo.signal(Signal::Interrupt);
    assert_eq!(demo.wait(Duration::from_secs(5)).await.code(), Some(130), "{}", demo.output());
}

#[tokio::test]
async fn everything_is_kept_below_the_data_directory_and_no_home_is_needed() {
    let (data, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let elsewhere = home.path().join("not there");
    for home_directory in [Some(home.path()), Some(elsewhere.as_path()), None] {
        let mut process = standalone(data.path(), &[], |command| {
            command.env_remove("HOME").env_remove("XDG_CACHE_HOME").envs(home_directory.map(|home| ("HOME", home)));
        })
        .await;
        process.wait_for_line("Billing is up", PATIENCE).await;
        process.signal(Signal::Interrupt);
        assert!(process.wait(Duration::from_secs(5)).await.success(), "{}", process.output());
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "something was written into the home directory");
    assert!(data.path().join("cache").is_dir());
}

/// Workers announce their tasks unless they are told not to, and whoever opens the dashboard sees them without asking.
#[tokio::test]
async fn its_dashboard_tells_of_its_worker_its_timetable_and_its_tasks() {
    let data = tempfile::tempdir().unwrap();
    let mut system = standalone(data.path(), &[], |_| ()).await;
    let told = system.wait_for_line("dashboard  ", PATIENCE).await;
    let address = told.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, texts) in [
        ("/", &["Healthy: 1 worker here"][..]),
        ("/tasks?name=billing.open_renewals&state=SUCCESS", &["billing.open_renewals", "ran"]),
        ("/schedule", &["open-renewals", "every 1 s", "</span> leads</span>"]),
        ("/queues", &["lookups", "payments", "renewals"]),
    ] {
        testkit::eventually(PATIENCE, async || {
            let page = http.get(format!("{address}{path}")).send().await.unwrap().text().await.unwrap();
            let missing: Vec<_> =
                texts.iter().filter(|text| !page.to_lowercase().contains(&text.to_lowercase())).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{path} lacks {missing:?}: {page}")) }
        })
        .await;
    }
    system.signal(Signal::Interrupt);
    assert!(system.wait(Duration::from_secs(5)).await.success(), "{}", system.output());
}

#[tokio::test]
async fn a_demo_that_ends_by_itself_speaks_of_no_key_to_end_it() {
    let data = tempfile::tempdir().unwrap();
    let mut process = standalone(data.path(), &[], |command| {
        command.env("STANDALONE_DEMO_AND_EXIT", "yes");
    })
    .await;
    assert!(process.wait(PATIENCE).await.success(), "{}", process.output());
    assert!(!process.output().contains("Ctrl-C"), "{}", process.output());
}

#[tokio::test]
async fn a_browser_of_this_machine_gets_its_token_from_the_machine_itself() {
    let data = tempfile::tempdir().unwrap();
    let account_id = uuid::Uuid::new_v4().to_string();
    let token = async || {
        Process::billing(&["token", "--account", &account_id], |command| {
            command.env("BILLING_DATA_DIR", data.path());
        })
        .await
    };
    let mut early = token().await;
    assert_eq!(early.wait(PATIENCE).await.code(), Some(64), "{}", early.output());
    assert!(early.output().contains("BILLING_DATA_DIR"), "{}", early.output());

    let mut system = standalone(data.path(), &[], |_| ()).await;
    let line = system.wait_for_line("gRPC API", PATIENCE).await;
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    let mut made = token().await;
    assert!(made.wait(PATIENCE).await.success(), "{}", made.output());
    let mut request = tonic::Request::new(ListTariffsRequest {});
    let bearer = format!("Bearer {}", made.output().trim());
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let answer = TariffsClient::connect(url).await.unwrap().list_tariffs(request).await.unwrap();
    assert_eq!(answer.into_inner().tariffs.len(), 3);
}
