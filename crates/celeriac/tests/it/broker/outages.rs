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
    assert!(lines[1].contains("away=\"2") || lines[1].contains("away=\"3"), "{lines:#?}");
    broker.close().await;
}
