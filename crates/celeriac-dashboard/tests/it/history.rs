//! The history: a restart forgets nothing, a page is found by its place, days go when they are too old or too much, and a
//! database that does not keep up costs nobody but the history.

use std::collections::BTreeSet;
use std::time::Duration;

use celeriac::protocol::event::{EVENT_EXCHANGE, Event, EventBatch, EventBody, TaskReceived};
use celeriac::{App, Context, Failure, SendOptions, Task, TaskError, TaskResult, Worker};
use celeriac_dashboard::{Bounds, Dashboard, History, Retention};
use listener::{Limits, Listener};
use serde::{Deserialize, Serialize};
use testkit::{TestDatabase, Vhost};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cluster::{SOON, get};

const ACT: &str = "a token to act";

#[derive(Task, Serialize, Deserialize)]
#[task(name = "kept.greet", queue = "kept")]
struct Greet {
    name: String,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "kept.refuse", queue = "kept")]
struct Refuse {}

async fn greet(task: Greet, _: Context) -> TaskResult<String> {
    Ok(format!("hello {}", task.name))
}

async fn refuse(_: Refuse, _: Context) -> TaskResult<()> {
    Err(TaskError::fail(Failure::new("Declined", ["no"])))
}

/// A dashboard that can be stopped and started again.
struct Site {
    address: String,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Site {
    async fn open(app: &App, database: &str, retention: Retention) -> Self {
        Self::bounded(app, database, retention, Bounds::default()).await
    }

    async fn bounded(app: &App, database: &str, retention: Retention, bounds: Bounds) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let stop = CancellationToken::new();
        let history = History::new(&database.into(), retention).expect("an address");
        let dashboard = Dashboard::builder(app.clone()).act_token(ACT).bounds(bounds).history(history);
        let pages = dashboard.shutdown(stop.clone()).into_router(address).unwrap();
        let serving = tokio::spawn(Listener::new(tcp, Limits::DEFAULT).serve(pages, stop.clone()));
        let site = Self { address: format!("http://{address}"), stop, serving };
        // From now on it hears: it declares its queue at its start, and nothing tells when.
        testkit::eventually(SOON, async || {
            tell(app, EventBody::TaskStarted { uuid: "is-anybody-there".into() }).await;
            site.shows("/tasks/is-anybody-there", "STARTED").await
        })
        .await;
        site
    }

    async fn page(&self, path: &str) -> String {
        get(&format!("{}{path}", self.address)).await.text().await.expect("a page")
    }

    async fn shows(&self, path: &str, text: &str) -> Result<(), String> {
        let page = self.page(path).await;
        if page.contains(text) { Ok(()) } else { Err(format!("{text} is not on {path}: {page}")) }
    }

    async fn soon_shows(&self, path: &str, text: &str) {
        testkit::eventually(SOON, async || self.shows(path, text).await).await;
    }

    async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

async fn app(vhost: &Vhost) -> App {
    let builder = App::builder().broker(vhost.amqp_url()).backend("memory://").default_queue("kept").sent_events(true);
    builder.build().await.unwrap()
}

async fn tell(app: &App, body: EventBody<'static>) {
    let timestamp = celeriac::clock::unix_seconds();
    let event = Event { hostname: "w@teller".into(), utcoffset: 0.0, pid: 1, clock: Some(1), timestamp, body };
    let publication = celeriac::broker::Publication {
        exchange: EVENT_EXCHANGE.to_owned(),
        routing_key: event.routing_key(),
        mandatory: false,
        message: event.to_message(),
    };
    app.broker().publish(publication).await.expect("the broker takes it");
}

fn received(id: &str, args: &str) -> EventBody<'static> {
    let (uuid, args) = (id.to_owned().into(), args.to_owned().into());
    EventBody::TaskReceived(Box::new(TaskReceived { uuid, args, name: "told.task".into(), ..TaskReceived::default() }))
}

fn succeeded(id: &str) -> EventBody<'static> {
    EventBody::TaskSucceeded { uuid: id.to_owned().into(), result: "1".into(), runtime: 0.1 }
}

async fn database(database: &TestDatabase) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn count(client: &tokio_postgres::Client, condition: &str) -> i64 {
    let all = format!("SELECT count(*) FROM celeriac_dashboard.task WHERE {condition}");
    client.query_one(&all, &[]).await.map_or(-1, |row| row.get(0))
}

/// Pitfall: history is gone at a restart, or saved and empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_forgets_nothing() {
    let (vhost, postgres) = tokio::join!(testkit::rabbitmq(), testkit::postgres());
    let app = app(&vhost).await;
    let site = Site::open(&app, postgres.url(), Retention::default()).await;
    let stop = CancellationToken::new();
    let worker = Worker::builder(app.clone()).hostname("w@kept").queues(["kept"]).events(true);
    let worker = tokio::spawn(worker.task(greet).task(refuse).build().unwrap().run(stop.clone()));
    let with_id = |id: &str| SendOptions::new().task_id(id);
    app.send_with(Greet { name: "Ada\0Lovelace".to_owned() }, with_id("greeted")).await.unwrap();
    app.send_with(Refuse {}, with_id("refused")).await.unwrap();
    site.soon_shows("/tasks/greeted", "SUCCESS").await;
    site.soon_shows("/tasks/refused", "FAILURE").await;
    // A task that goes on over the restart.
    tell(&app, received("goes-on", "('before',)")).await;
    site.soon_shows("/tasks/goes-on", "RECEIVED").await;
    act(&site, "do=revoke&id=goes-on&form=7e5e0f6c-5f1c-4a55-9c0e-0a2bb8f7a001").await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    site.soon_shows("/workers", "stopped").await;
    site.close().await;

    let client = database(&postgres).await;
    testkit::eventually(SOON, async || match count(&client, "id IN ('greeted', 'refused', 'goes-on')").await {
        3 => Ok(()),
        count => Err(format!("{count} are written")),
    })
    .await;
    let site = Site::open(&app, postgres.url(), Retention::default()).await;
    site.soon_shows("/tasks?name=kept.", "1–2 of 2").await;
    site.soon_shows("/tasks?text=lovelace", "kept.greet").await;
    site.soon_shows("/tasks?error=Declined", "1–1 of 1").await;
    assert!(
        !site.page("/tasks?error=Decline").await.contains("kept.refuse"),
        "the class of an error is meant as a whole"
    );
    site.soon_shows("/workers/w%40kept", "2 received, 2 started, 1 succeeded, 1 failed, 0 retried, 0 revoked").await;
    site.soon_shows("/tasks/greeted", "hello Ada").await;
    for text in ["sent", "received", "started", "succeeded", "w@kept"] {
        site.soon_shows("/tasks/greeted", text).await;
    }
    site.soon_shows("/tasks/refused", "Declined").await;
    site.soon_shows("/workers", "w@kept").await;
    site.soon_shows("/", "1 failed in the last hour").await;
    site.soon_shows("/log", "Revoke goes-on").await;
    site.soon_shows("/ranking", "kept.refuse").await;

    // What happens now is the same story.
    tell(&app, succeeded("goes-on")).await;
    site.soon_shows("/tasks/goes-on", "SUCCESS").await;
    site.soon_shows("/tasks/goes-on", "before").await;
    testkit::eventually(SOON, async || {
        let states = "SELECT string_agg(state, ',') FROM celeriac_dashboard.task WHERE id = 'goes-on'";
        let states: String = client.query_one(states, &[]).await.map_err(|error| error.to_string())?.get(0);
        if states == "SUCCESS" { Ok(()) } else { Err(states) }
    })
    .await;
    site.close().await;
}

/// Workers do not say that they were told to take no more from a queue: who told them must not forget it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_was_paused_is_paused_after_a_restart_too_and_can_be_resumed() {
    let (vhost, postgres) = tokio::join!(testkit::rabbitmq(), testkit::postgres());
    let app = app(&vhost).await;
    let stop = CancellationToken::new();
    let worker = Worker::builder(app.clone()).hostname("w@kept").queues(["kept"]).events(true);
    let worker = tokio::spawn(worker.task(greet).build().unwrap().run(stop.clone()));
    let site = Site::open(&app, postgres.url(), Retention::default()).await;
    site.soon_shows("/queues/kept", "<code>w@kept</code>").await;
    let form = |number: u32| format!("form=7e5e0f6c-5f1c-4a55-9c0e-0a2bb8f7b{number:03}");
    act(&site, &format!("do=pause-queue&queue=kept&node=w%40kept&why=a+look&{}", form(1))).await;
    site.soon_shows("/log", "Pause kept on 1 worker").await;
    let client = database(&postgres).await;
    let paused = async || {
        let rows = client.query("SELECT queue, nodes FROM celeriac_dashboard.paused", &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(String, String)>>()
    };
    testkit::eventually(SOON, async || paused().await == [("kept".to_owned(), "[\"w@kept\"]".to_owned())]).await;
    site.close().await;

    let site = Site::open(&app, postgres.url(), Retention::default()).await;
    site.soon_shows("/queues/kept", "Somebody has paused it here, since").await;
    act(&site, &format!("do=resume-queue&queue=kept&node=w%40kept&{}", form(2))).await;
    testkit::eventually(SOON, async || paused().await.is_empty()).await;
    site.soon_shows("/queues/kept", "<code>w@kept</code>").await;
    assert!(!site.page("/queues/kept").await.contains("Somebody has paused"));
    site.close().await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

/// Pitfalls: counts over millions of rows, and numbers that nobody can read. Whatever is asked for in the list, no more rows are
/// read than can be counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_list_reads_the_whole_history_and_none_counts_further_than_anybody_reads() {
    const ROWS: i64 = 120_000;
    let (vhost, postgres) = tokio::join!(testkit::rabbitmq(), testkit::postgres());
    let app = app(&vhost).await;
    let site = Site::open(&app, postgres.url(), Retention::default()).await;
    tell(&app, received("like-all", "(1,)")).await;
    let client = database(&postgres).await;
    testkit::eventually(SOON, async || count(&client, "id = 'like-all'").await == 1).await;
    let fill = format!(
        "INSERT INTO celeriac_dashboard.task (heard, id, name, state, worker, queue, root_id, ran, arguments, story, error)
         SELECT heard - n, 'many-' || n, CASE WHEN n % 40000 = 0 THEN 'rare.task' ELSE 'many.task' END,
                CASE WHEN n % 40000 = 0 THEN 'FAILURE' ELSE 'SUCCESS' END, 'w@many', 'many', 'root-' || n, 0.1, '(1,)',
                replace(story, 'like-all', 'many-' || n), CASE WHEN n % 40000 = 0 THEN 'Rare' END
         FROM celeriac_dashboard.task, generate_series(1, {ROWS}) AS n WHERE id = 'like-all';
         ANALYZE celeriac_dashboard.task"
    );
    client.batch_execute(&fill).await.unwrap();
    let read = async || -> i64 {
        let read = "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_user_tables
                    WHERE schemaname = 'celeriac_dashboard' AND relname LIKE 'task%'";
        client.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        client.query_one(read, &[]).await.unwrap().get(0)
    };
    // What was read to fill it is counted by now: a session tells of it when it is idle.
    testkit::eventually(SOON, async || read().await > 0).await;
    for (path, told) in [
        ("/tasks", "more than 10,000"),
        ("/tasks?state=SUCCESS", "more than 10,000"),
        ("/tasks?name=many.", "more than 10,000"),
        ("/tasks?state=FAILURE", "1–3 of 3"),
        ("/tasks?name=rare.", "1–3 of 3"),
        ("/tasks?error=Rare", "1–3 of 3"),
        ("/tasks?id=many-77", "1–1 of 1"),
        ("/tasks/many-78", "told.task"),
        ("/canvas/root-79", "many-79"),
    ] {
        let plan = site.page(path).await;
        assert!(plan.contains(told), "{told} is not on {path}: {plan}");
    }
    site.close().await;
    // The reader's session has ended, and with that has told.
    testkit::eventually(SOON, async || {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'celeriac-dashboard' AND datname = current_database()";
        client.query_one(sessions, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    let rows = read().await;
    let most = 3 * 2 * 10_001 + 10_000;
    // The row that all are like was read for the filling.
    assert!(rows < most, "{rows} rows were read for nine pages, more than {most}");
}

/// Signs in and sends a form.
async fn act(site: &Site, form: &str) {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let form_of = "application/x-www-form-urlencoded";
    let post = async |path: &str, cookie: &str, body: String| {
        let request = client.post(format!("{}{path}", site.address)).header("content-type", form_of);
        request.header("cookie", cookie).body(body).send().await.unwrap()
    };
    let signed_in = post("/sign-in", "", format!("token={}&name=Ada", ACT.replace(' ', "+"))).await;
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = client.get(format!("{}/log", site.address)).header("cookie", &cookie).send().await.unwrap();
    let page = page.text().await.unwrap();
    let (_, csrf) = page.split_once("name=\"csrf\" value=\"").expect("a form");
    let csrf = csrf.split('"').next().unwrap();
    let done = post("/act", &cookie, format!("{form}&csrf={csrf}")).await;
    assert_eq!(done.status(), 303, "{}", done.text().await.unwrap());
}

/// Pitfall: a keyset drops rows of the same time. Every task stands on exactly one page, both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_stands_on_one_page_also_of_those_heard_of_at_the_same_time() {
    let (vhost, postgres) = tokio::join!(testkit::rabbitmq(), testkit::postgres());
    let app = app(&vhost).await;
    // Memory has room for a few of them only.
    let bounds = Bounds { tasks: 10, ..Bounds::default() };
    let site = Site::bounded(&app, postgres.url(), Retention::default(), bounds).await;
    let ids: BTreeSet<String> = (0..130).map(|number| format!("task-{number:03}")).collect();
    for id in &ids {
        tell(&app, received(id, "(1,)")).await;
    }
    site.soon_shows("/tasks?name=told.", "1–50 of 130").await;
    let client = database(&postgres).await;
    // All within one microsecond, as far as the clock tells.
    client
        .batch_execute("UPDATE celeriac_dashboard.task SET heard = (SELECT max(heard) FROM celeriac_dashboard.task) WHERE name = 'told.task'")
        .await
        .unwrap();
    let mut path = "/tasks?name=told.".to_owned();
    let mut seen = Vec::new();
    for direction in ["Older →", "← Newer"] {
        let mut on_the_way = Vec::new();
        loop {
            let page = site.page(&path).await;
            on_the_way.push(ids_of(&page));
            let Some((before, _)) = page.split_once(&format!("\">{direction}</a>")) else { break };
            path = before.rsplit("href=\"").next().unwrap().replace("&#38;", "&");
        }
        let sizes: Vec<_> = on_the_way.iter().map(Vec::len).collect();
        seen.push((sizes, on_the_way.concat()));
    }
    assert_eq!(seen[0].0, [50, 50, 30]);
    assert_eq!(seen[0].1.iter().cloned().collect::<BTreeSet<_>>(), ids);
    assert_eq!(seen[1].1.iter().cloned().collect::<BTreeSet<_>>(), ids);
    site.close().await;
}

fn ids_of(page: &str) -> Vec<String> {
    let id = |part: &str| part.split('"').next().map(str::to_owned);
    page.split("<code title=\"").skip(1).filter_map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_go_when_they_are_too_old_and_when_all_is_too_much_and_today_is_told_when_it_is_full() {
    let (vhost, postgres) = tokio::join!(testkit::rabbitmq(), testkit::postgres());
    let app = app(&vhost).await;
    let site = Site::open(&app, postgres.url(), Retention { days: 3, ..Retention::default() }).await;
    site.close().await;
    let client = database(&postgres).await;
    let day = async |days_ago: i64| {
        let today = client.query_one("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')", &[]).await.unwrap();
        let today: chrono::NaiveDate = today.get::<_, String>(0).parse().unwrap();
        let day = today - chrono::Days::new(days_ago.unsigned_abs());
        let from = day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
        let (name, to) = (day.format("task_%Y_%m_%d").to_string(), from + 86_400_000_000);
        let make = format!(
            "CREATE TABLE celeriac_dashboard.{name} PARTITION OF celeriac_dashboard.task FOR VALUES FROM ({from}) TO ({to});
             INSERT INTO celeriac_dashboard.task (heard, id, state, arguments, story) VALUES ({from}, '{name}', 'SUCCESS', '', '')"
        );
        client.batch_execute(&make).await.unwrap();
        name
    };
    let (old, kept) = (day(3).await, day(2).await);
    let site = Site::open(&app, postgres.url(), Retention { days: 3, ..Retention::default() }).await;
    testkit::eventually(SOON, async || count(&client, &format!("id = '{old}'")).await == 0).await;
    assert_eq!(count(&client, &format!("id = '{kept}'")).await, 1);
    site.close().await;

    let site = Site::open(&app, postgres.url(), Retention { days: 3, bytes: 1 }).await;
    testkit::eventually(SOON, async || count(&client, &format!("id = '{kept}'")).await == 0).await;
    site.soon_shows("/", "nothing more of today is kept").await;
    let before = count(&client, "true").await;
    tell(&app, received("too-much", "()")).await;
    // It is in memory, and told as lost.
    site.soon_shows("/tasks/too-much", "RECEIVED").await;
    site.soon_shows("/", "not in the history as").await;
    assert_eq!(count(&client, "true").await, before);
    site.close().await;
}

/// 2,000 tasks a second, four events each, are taken; while the database stands still everything else goes on, what waits for
/// it is bounded, and what was lost is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_tasks_a_second_are_kept_and_what_a_slow_database_costs_is_told() {
    const TASKS: usize = 10_000;
    const A_SECOND: usize = 2_000;
    let (vhost, postgres) = tokio::join!(testkit::rabbitmq(), testkit::postgres());
    let proxy = testkit::FaultProxy::start(postgres.url()).await;
    let app = app(&vhost).await;
    let bounds = Bounds { tasks: 2_000, ..Bounds::default() };
    let through = proxy.url(postgres.url());
    let site = Site::bounded(&app, &through, Retention::default(), bounds).await;
    let client = database(&postgres).await;
    let began = tokio::time::Instant::now();
    let mut second = tokio::time::interval(Duration::from_secs(1) / 20);
    for batch in 0..TASKS * 20 / A_SECOND {
        second.tick().await;
        announce(&app, "fast", batch * A_SECOND / 20, A_SECOND / 20).await;
    }
    let took = began.elapsed();
    testkit::eventually(SOON, async || match count(&client, "state = 'SUCCESS' AND id LIKE 'fast-%'").await {
        count if count == TASKS as i64 => Ok(()),
        count => Err(format!("{count} of {TASKS} are there; they were sent in {took:?}")),
    })
    .await;
    site.soon_shows("/", "0 tasks were lost to it").await;

    proxy.pause();
    // More than may wait: 20,000, and those in memory.
    for batch in 0..30 {
        announce(&app, "stuck", batch * 1_000, 1_000).await;
    }
    site.soon_shows("/", "not in the history as").await;
    // Whoever looks meanwhile is shown what memory has, and told so.
    site.soon_shows("/tasks", "The history does not answer").await;
    proxy.resume();
    tell(&app, received("after", "()")).await;
    testkit::eventually(SOON, async || count(&client, "id = 'after'").await == 1).await;
    site.close().await;
}

/// Tells of tasks that are received, started and have succeeded, a message for each hundred.
async fn announce(app: &App, name: &str, first: usize, tasks: usize) {
    let at = celeriac::clock::unix_seconds();
    for chunk in (first..first + tasks).collect::<Vec<_>>().chunks(100) {
        let mut batch = EventBatch::default();
        for number in chunk {
            let id = format!("{name}-{number}");
            let started = EventBody::TaskStarted { uuid: id.clone().into() };
            for (clock, body) in [received(&id, "(1,)"), started, succeeded(&id)].into_iter().enumerate() {
                let (hostname, clock) = ("w@fast".into(), Some(clock as u64 + 1));
                batch.push(&Event { hostname, utcoffset: 0.0, pid: 1, clock, timestamp: at, body });
            }
        }
        let message = batch.take("w@fast").expect("there are some");
        let publication = celeriac::broker::Publication {
            exchange: EVENT_EXCHANGE.to_owned(),
            routing_key: EventBatch::ROUTING_KEY.to_owned(),
            mandatory: false,
            message,
        };
        app.broker().publish(publication).await.expect("the broker takes it");
    }
}
