//! What the log says of a broker that is away.

use celeriac::broker::{ConnectOptions, connect};
use testkit::{FaultProxy, Logs, eventually};

use super::setup::*;

#[tokio::test]
async fn an_outage_of_the_broker_is_one_line_when_it_begins_and_one_when_it_is_over() {
    let setup = Setup::quorum().await;
    let logs = Logs::of_this_thread("celeriac=info");
    let proxy = FaultProxy::start(&setup.url).await;
    let broker = connect(&proxy.url(&setup.url), ConnectOptions::default()).await.unwrap();
    assert_eq!(logs.lines(), Vec::<String>::new(), "a connection that comes at once is no news");

    proxy.refuse().await;
    proxy.cut();
    eventually(SOON, async || !broker.health().connected).await;
    // Both connections are tried again and again meanwhile.
    let attempts = proxy.accepted();
    eventually(SOON, async || logs.with("cannot be reached").len() == 1 && proxy.accepted() >= attempts).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    proxy.accept().await;
    eventually(SOON, async || broker.health().connected).await;

    let lines = logs.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("the broker cannot be reached"), "{lines:#?}");
    assert!(lines[1].contains("INFO") && lines[1].contains("the broker is back"), "{lines:#?}");
    assert!(lines[1].contains("away=\"") && !lines[1].contains("ms\""), "two seconds and more: {lines:#?}");
    broker.close().await;
}

/// What the other test runs as a program of its own: it connects, publishes, and ends without a word.
const PROGRAM: &str = "CELERIAC_TEST_UNCLOSED";

#[test]
fn a_program_that_does_not_close_its_connections_ends_without_a_panic() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Ok(url) = std::env::var(PROGRAM) {
        let runtime = runtime();
        let broker = runtime.block_on(async {
            let broker = connect(&url, ConnectOptions::default()).await.unwrap();
            declare(&*broker, durable("q")).await;
            publish(&*broker, "q", ["1"]).await;
            broker
        });
        drop(runtime);
        // The connections' own threads have time to stumble.
        std::thread::sleep(std::time::Duration::from_millis(500));
        drop(broker);
        return;
    }
    let vhost = runtime().block_on(testkit::rabbitmq());
    let name = "broker::outages::a_program_that_does_not_close_its_connections_ends_without_a_panic";
    let program = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(PROGRAM, vhost.amqp_url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&program.stderr);
    assert!(program.status.success() && !said.contains("panicked"), "{said}");
}
