//! Redis moves: another server becomes the one to ask, and nobody is restarted for it.

use std::sync::Arc;
use std::time::Duration;

use celeriac::backend::{BackendError, BackendOptions, Change, Grant, ResultBackend, Seat, connect};
use celeriac::beat::RedisScheduleStore;
use celeriac::beat::store::ScheduleStore;
use celeriac::protocol::State;
use celeriac::{App, Beat, Entry, SendOptions};
use testkit::{FaultProxy, OwnServer, redis_server};
use tokio_util::sync::CancellationToken;

use super::redis::client;
use super::{SOON, id, next, open, result, state};
use crate::worker::setup::{Setup, drain};
use crate::worker::tasks::Add;

fn patient() -> BackendOptions {
    BackendOptions { timeout: Duration::from_secs(5), ..BackendOptions::default() }
}

/// Two servers, and a name that leads to the first.
struct Pair {
    name: FaultProxy,
    old: OwnServer,
    new: OwnServer,
}

impl Pair {
    async fn start() -> Self {
        let (old, new) = tokio::join!(testkit::own_redis(), testkit::own_redis());
        Self { name: FaultProxy::start(old.url()).await, old, new }
    }

    fn url(&self) -> String {
        self.name.url(self.old.url())
    }

    /// The old master lives on as a replica of the new one, and the name leads to that. Open connections stay open.
    async fn fail_over(&self) {
        let port = self.new.url().rsplit(':').next().unwrap().to_owned();
        let mut old = client(self.old.url()).await;
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).exec_async(&mut old).await.unwrap();
        self.name.lead_to(self.new.url()).await;
    }
}

/// Asks again as workers and beats do, until it is done.
async fn in_time<T, F: Future<Output = Result<T, BackendError>>>(work: impl Fn() -> F) -> T {
    testkit::eventually(SOON, || async { work().await.map_err(|error| error.to_string()) }).await
}

#[tokio::test]
async fn an_old_master_that_lives_on_read_only_is_left_for_the_new_one() {
    let pair = Pair::start().await;
    let backend: Arc<dyn ResultBackend> = open(&pair.url(), patient()).await;
    let (group, task, seat) = (id(), id(), Seat { key: id(), token: id(), limit: 1, lease: Duration::from_secs(60) });
    let (limits, deliveries) = (backend.limits().unwrap(), backend.deliveries().unwrap());
    let mut subscription = backend.subscribe(&task).await.unwrap();
    backend.store(&[result(&id(), "SUCCESS")]).await.unwrap();
    let store = RedisScheduleStore::connect(&pair.url(), Duration::from_secs(5)).await.unwrap();
    assert!(store.lead("beat", Duration::from_secs(60)).await.unwrap().is_some());

    pair.fail_over().await;
    in_time(|| backend.begin_chord(&group, 2)).await;
    let other = [result(&id(), "SUCCESS")];
    in_time(|| backend.store(&other)).await;
    assert!(matches!(in_time(|| limits.claim(&seat)).await, Grant::Seated { .. }));
    assert_eq!(in_time(|| deliveries.count(&task)).await, 1);
    in_time(|| backend.save_group(&group, "[]")).await;
    let leads = testkit::eventually(SOON, || async {
        store.lead("beat", Duration::from_secs(60)).await.map_err(|error| error.to_string())
    });
    assert!(leads.await.is_some());

    let mut new = client(pair.new.url()).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut new).await.unwrap();
    assert!(keys.iter().any(|key| key.contains(&group)) && keys.iter().any(|key| key.contains(&seat.key)), "{keys:?}");

    // Whoever waits for a result is told, and told to look again.
    let told = async {
        while next(&mut subscription).await != Change::Resubscribed {}
        backend.store(&[result(&task, "SUCCESS")]).await.unwrap();
        assert!(matches!(next(&mut subscription).await, Change::Stored(_)));
    };
    tokio::time::timeout(SOON, told).await.expect("the subscription followed");
    assert_eq!(state(&*backend, &task).await.as_deref(), Some("SUCCESS"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_and_a_beat_go_on_after_a_failover_without_a_restart() {
    let pair = Pair::start().await;
    let setup = Setup::classic().await;
    let app = setup.builder().backend(pair.url()).backend_timeout(Duration::from_secs(2));
    let worker = setup.serve_app(app, |worker| worker.concurrency(8)).await;
    let store = RedisScheduleStore::connect(&pair.url(), Duration::from_secs(2)).await.unwrap();
    worker.app.declare_queue("ticks").await.unwrap();
    let entry = Entry::every("ticking", Duration::from_millis(100), Add { x: 1, y: 1 });
    let entry = entry.options(SendOptions::new().queue("ticks"));
    let stop = CancellationToken::new();
    let beat = Beat::builder(worker.app.clone()).store(Arc::new(store)).entry(entry).build();
    let beat = tokio::spawn(beat.run(stop.clone()));
    drain(&worker.app, "ticks", 2).await;
    let send = async || worker.app.send(Add { x: 1, y: 2 }).await.unwrap().id().to_owned();
    let before = send().await;
    worker.meta_when(&before, |meta| meta.state == State::Success).await;

    pair.fail_over().await;
    for _ in 0..20 {
        send().await;
    }
    let after = send().await;
    worker.settled("celery").await;
    let mut new = client(pair.new.url()).await;
    let stored: bool =
        redis::cmd("EXISTS").arg(format!("celery-task-meta-{after}")).query_async(&mut new).await.unwrap();
    assert!(stored, "results are stored in the new master");
    let passed = worker.app.broker().purge("ticks").await.unwrap();
    drain(&worker.app, "ticks", 3).await;
    let lease: Option<String> = redis::cmd("GET").arg("celeriac:{beat}:lease").query_async(&mut new).await.unwrap();
    assert!(lease.is_some(), "the beat leads in the new master, {passed} ticks later");
    stop.cancel();
    tokio::time::timeout(SOON, beat).await.expect("it ends").unwrap();
    worker.stop().await;
}

#[tokio::test]
async fn of_several_servers_the_one_that_takes_writes_is_used() {
    let pair = Pair::start().await;
    let both = format!("{};{}", pair.old.url(), pair.new.url());
    pair.fail_over().await;
    let backend = open(&both, patient()).await;
    let task = id();
    backend.store(&[result(&task, "SUCCESS")]).await.unwrap();
    let mut new = client(pair.new.url()).await;
    let stored: bool =
        redis::cmd("EXISTS").arg(format!("celery-task-meta-{task}")).query_async(&mut new).await.unwrap();
    assert!(stored);
    assert!(backend.subscribe(&task).await.is_ok());
}

#[tokio::test]
async fn a_silent_server_does_not_hide_the_next_one() {
    let (silent, live) = tokio::join!(testkit::own_redis(), testkit::own_redis());
    let proxy = FaultProxy::start(silent.url()).await;
    proxy.pause();
    let began = tokio::time::Instant::now();
    let backend = open(&format!("{};{}", proxy.url(silent.url()), live.url()), patient()).await;
    backend.store(&[result(&id(), "SUCCESS")]).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn sentinels_are_asked_for_the_master_again_after_a_failover() {
    let (old, new) = tokio::join!(testkit::own_redis(), testkit::own_redis());
    let port = |server: &OwnServer| server.url().rsplit(':').next().unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("sentinel.conf");
    std::fs::write(&settings, format!("sentinel monitor shop 127.0.0.1 {} 1\n", port(&old))).unwrap();
    let sentinel = redis_server(&[settings.to_str().unwrap(), "--sentinel"]).await;
    let nobody = testkit::free_port();
    let url = format!("sentinel://127.0.0.1:{nobody};127.0.0.1:{}/0?master_name=shop", sentinel.port());
    let backend = open(&url, patient()).await;
    backend.store(&[result(&id(), "SUCCESS")]).await.unwrap();

    // What a failover comes to, without waiting for the sentinel to notice.
    let mut replica = client(old.url()).await;
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port(&new)).exec_async(&mut replica).await.unwrap();
    let mut asked = client(&format!("redis://127.0.0.1:{}", sentinel.port())).await;
    redis::cmd("SENTINEL").arg(&["REMOVE", "shop"]).exec_async(&mut asked).await.unwrap();
    let monitor = ["MONITOR", "shop", "127.0.0.1", &port(&new), "1"];
    redis::cmd("SENTINEL").arg(&monitor).exec_async(&mut asked).await.unwrap();
    let task = id();
    in_time(|| {
        let (backend, task) = (Arc::clone(&backend), task.clone());
        async move { backend.store(&[result(&task, "SUCCESS")]).await }
    })
    .await;
    assert_eq!(state(&*backend, &task).await.as_deref(), Some("SUCCESS"));

    let refused = |url: String| async move {
        match connect(&url, &patient()).await {
            Err(error) => error,
            Ok(_) => panic!("{url} was accepted"),
        }
    };
    let without_name = refused(format!("sentinel://127.0.0.1:{}", sentinel.port())).await;
    assert!(matches!(&without_name, BackendError::Refused { reason, .. } if reason.contains("master_name")));
    let app = App::builder().broker("memory://named-by-the-builder").result_master_name("shop");
    app.backend(format!("sentinel://127.0.0.1:{}", sentinel.port())).build().await.expect("the name is known");
    let other = refused(format!("sentinel://127.0.0.1:{}?master_name=other", sentinel.port())).await;
    assert!(other.to_string().contains("other"), "{other}");
}

#[tokio::test]
async fn a_redis_cluster_is_refused_by_name_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = directory.path().join("nodes.conf");
    let server = redis_server(&["--cluster-enabled", "yes", "--cluster-config-file", nodes.to_str().unwrap()]).await;
    let url = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    let open = format!("redis://127.0.0.1:{}", server.port());
    for error in
        [connect(&open, &patient()).await.err(), RedisScheduleStore::connect(&open, Duration::from_secs(5)).await.err()]
    {
        let error = error.expect("a cluster was accepted");
        assert!(matches!(&error, BackendError::Refused { reason, .. } if reason.contains("Redis Cluster")), "{error}");
        assert!(!error.to_string().contains("hunter2") && !url.is_empty());
    }
}
