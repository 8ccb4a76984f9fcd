//! Every page and action as a person meets it, in Chromium.

use std::process::Stdio;
use std::time::Duration;

use celeriac::control::Command;
use tokio::process::Command as Program;

use crate::cluster::{ACT, Cluster, SOON, directory};

const ENDS_WITHIN: Duration = Duration::from_secs(480);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_can_be_read_by_everybody_and_every_button_acts() {
    let cluster = Cluster::start().await;
    cluster.work().await;

    // What workers say of themselves, from the workers themselves.
    let stats = cluster.ask(Command::stats(), "w@python").await;
    let memory = stats["rusage"]["maxrss"].as_u64().expect("a number");
    cluster.shows("/workers", &format!("{:.1} MB", memory as f64 * 1024.0 / 1e6)).await;

    let mut browser = Program::new(testkit::python());
    browser.arg("browse.py").args([&cluster.address, ACT]).current_dir(directory());
    browser.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(ENDS_WITHIN, browser.output()).await.expect("it ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));

    // What its buttons have done.
    let stats = cluster.ask(Command::stats(), "w@rust").await;
    assert_eq!(stats["pool"]["max-concurrency"], 7, "{stats}");
    let limits = cluster.ask(Command::registered(["rate_limit"]), "w@python").await;
    assert!(limits.to_string().contains("python.add [rate_limit=5/m]"), "{limits}");
    let queues = cluster.ask(Command::active_queues(), "w@rust").await;
    let names: Vec<_> = queues.as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop", "extra"]);
    for id in ["running", "scheduled"] {
        testkit::eventually(SOON, async || {
            cluster.app.result::<()>(id).state().await.is_ok_and(|state| state.to_string() == "REVOKED")
        })
        .await;
    }
    // One was discarded, one was sent back and came again.
    testkit::eventually(SOON, async || {
        let left = cluster.app.parking("shop").list(10).await.unwrap();
        let mut left: Vec<_> = left.into_iter().filter_map(|message| message.id).collect();
        left.sort();
        if left == ["unknown-1", "unknown-2"] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;

    // A worker that dies is told of, and not forgotten.
    cluster.python.signal(testkit::Signal::Kill);
    cluster.shows("/", "late with heartbeats").await;
    cluster.shows("/workers/w%40python", "late").await;
    cluster.shows("/workers/w%40python", "did not answer within").await;
}
