//! Real Flower beside the dashboard, on the same broker and the same two workers: every figure that both show is fetched from
//! both and compared. Where they differ for a reason, the reason stands at the comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command as Program;
use std::sync::Arc;
use std::time::Duration;

use celeriac::control::{Client, Command};
use celeriac::{App, SendOptions, Worker};
use celeriac_dashboard::Dashboard;
use listener::{Limits, Listener};
use serde_json::{Value, json};
use testkit::{Process, RedisDb, Vhost};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cluster::{
    Charge, Refuse, SOON, STARTS_WITHIN, TryAgain, Wait, charge, directory, get, python, refuse, ship, try_again, wait,
};
use crate::html::{fact, preformatted, row, rows, section, text};

const WORKERS: [&str; 2] = ["w@rust", "w@python"];
/// Tasks that are sent by the test, and how they end. `charged` sends one more. Those that are tried again are so after a second:
/// that a round was given up may be told after the end of the next, and then Flower shows RETRY for ever, of Python's workers too.
const TASKS: [(&str, &str); 13] = [
    ("charged", "SUCCESS"),
    ("refused", "FAILURE"),
    ("retried", "SUCCESS"),
    ("revoked", "REVOKED"),
    ("later", "RECEIVED"),
    ("added", "SUCCESS"),
    ("failed", "FAILURE"),
    ("again", "SUCCESS"),
    ("dropped", "REVOKED"),
    ("expired", "REVOKED"),
    ("running-1", "STARTED"),
    ("running-2", "STARTED"),
    ("waiting", "RECEIVED"),
];
/// Times are told to the microsecond here, and as floating point there.
const ROUNDED: f64 = 2e-6;

/// Flower and a dashboard that have heard the same from the beginning.
struct Both {
    app: App,
    ours: String,
    flowers: String,
    stop: CancellationToken,
    _processes: [Process; 2],
    _vhost: Vhost,
    _redis: RedisDb,
}

impl Both {
    async fn start() -> Self {
        let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
        let builder = App::builder().broker(vhost.amqp_url()).backend(redis.url()).default_queue("shop");
        let app = builder.sent_events(true).build().await.expect("both servers are there");
        let stop = CancellationToken::new();
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let bound = tcp.local_addr().expect("a port");
        let pages = Dashboard::builder(app.clone()).queues(["shop", "python", "nobody"]);
        let pages = pages.management(vhost.management_url().parse().expect("a URL")).shutdown(stop.clone());
        let pages = pages.into_router(bound).expect("it is a loopback address");
        let serving = stop.clone();
        tokio::spawn(async move { Listener::new(tcp, Limits::DEFAULT).serve(pages, serving).await });
        let (mut flower, flowers) = flower(&vhost);
        let worker = Worker::builder(app.clone()).hostname("w@rust").queues(["shop"]).events(true).concurrency(2);
        let worker = worker.task(charge).task(ship).task(refuse).task(try_again).task(wait);
        tokio::spawn(worker.build().expect("the configuration can be").run(stop.clone()));
        let mut python = python(&vhost, &redis);
        python.wait_for_line(" ready.", STARTS_WITHIN).await;
        flower.wait_for_line("Connected to amqp://", STARTS_WITHIN).await;
        let ours = format!("http://{bound}");
        Self { app, ours, flowers, stop, _processes: [python, flower], _vhost: vhost, _redis: redis }
    }

    async fn page(&self, path: &str) -> String {
        get(&format!("{}{path}", self.ours)).await.text().await.expect("a page")
    }

    async fn flower(&self, path: &str) -> Result<Value, String> {
        let response = get(&format!("{}{path}", self.flowers)).await;
        let status = response.status();
        let body = response.text().await.expect("a body");
        serde_json::from_str(&body).map_err(|error| format!("Flower's {path}: {status}, {error}: {body}"))
    }

    /// What Flower has heard of each worker.
    async fn heard_by_flower(&self) -> Result<BTreeMap<String, Value>, String> {
        let all = self.flower("/workers?json=1").await?;
        let named = |worker: &Value| Some((worker["hostname"].as_str()?.to_owned(), worker.clone()));
        Ok(all["data"].as_array().into_iter().flatten().filter_map(named).collect())
    }

    async fn work(&self) {
        let id = |id: &str| SendOptions::new().task_id(id);
        let client = Client::new(Arc::clone(self.app.broker()));
        // Both workers know what is revoked before it comes.
        let mut told =
            client.call(Command::revoke(["revoked", "dropped"]).to(WORKERS), SOON).await.expect("it is sent");
        for _ in WORKERS {
            told.next().await.expect("each says that it does");
        }
        let app = &self.app;
        let later = id("later").countdown(Duration::from_secs(3_600));
        app.send_with(Charge { order: 1 }, id("charged")).await.expect("the broker takes it");
        app.send_with(Refuse {}, id("refused")).await.expect("the broker takes it");
        app.send_with(TryAgain {}, id("retried")).await.expect("the broker takes it");
        app.send_with(Charge { order: 2 }, id("revoked")).await.expect("the broker takes it");
        app.send_with(Charge { order: 3 }, later).await.expect("the broker takes it");
        let to_python = |name: &str| id(name).queue("python");
        let late = to_python("expired").expires_at(celeriac::clock::now() - chrono::Duration::minutes(1));
        for (name, arguments, options) in [
            ("python.add", json!([1, "it's <b>"]), to_python("failed")),
            ("python.add", json!([20, 22]), to_python("added")),
            ("python.again", json!([]), to_python("again")),
            ("python.add", json!([1, 2]), to_python("dropped")),
            ("python.add", json!([3, 4]), late),
        ] {
            app.send_named(name, arguments, json!({}), options).await.expect("the broker takes it");
        }
        for (name, state) in TASKS.into_iter().take(10) {
            self.both_say(name, state).await;
        }
        for name in ["running-1", "running-2", "waiting"] {
            app.send_with(Wait {}, id(name)).await.expect("the broker takes it");
        }
        for (name, state) in TASKS {
            self.both_say(name, state).await;
        }
        app.declare_queue("nobody").await.expect("the broker makes it");
        for _ in 0..2 {
            let nowhere = SendOptions::new().queue("nobody").ignore_result(true);
            app.send_named("nobody.does", [0; 0], json!({}), nowhere).await.expect("the broker takes it");
        }
    }

    async fn both_say(&self, id: &str, state: &str) {
        testkit::eventually(SOON, async || {
            let flowers = self.flower(&format!("/api/task/info/{id}")).await?;
            same(&format!("Flower's state of {id}"), &flowers["state"], &json!(state))?;
            let page = self.page(&format!("/tasks/{id}")).await;
            if state_of(&page) == state { Ok(()) } else { Err(format!("our state of {id}: {}", text(&page))) }
        })
        .await;
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn flower(vhost: &Vhost) -> (Process, String) {
    let port = testkit::free_port();
    let mut command = Program::new(testkit::python());
    command.args(["-m", "celery", "-A", "proj", "flower", "--address=127.0.0.1", "--inspect_timeout=10000"]);
    command.arg(format!("--port={port}")).arg(format!("--broker_api={}/api/", vhost.management_url()));
    command.current_dir(directory()).env("PYTHONDONTWRITEBYTECODE", "1").env("FLOWER_UNAUTHENTICATED_API", "true");
    command.env("BROKER_URL", vhost.amqp_url()).env("RESULT_BACKEND", "cache+memory://");
    (Process::spawn("flower", command), format!("http://127.0.0.1:{port}"))
}

#[expect(clippy::needless_pass_by_value, reason = "both are only made to be compared")]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, flowers: T) -> Result<(), String> {
    if ours == flowers { Ok(()) } else { Err(format!("{what}: {ours:?} here, {flowers:?} was expected")) }
}

fn state_of(page: &str) -> String {
    let line = page.split_once("<div class=\"cols\"><div>").and_then(|(_, rest)| rest.split_once("</p>"));
    line.map_or_else(String::new, |(line, _)| text(line).split(' ').nth(1).unwrap_or_default().to_owned())
}

/// Figures of a text, without what stands between thousands.
fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|error| panic!("{text} is no number: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_figure_is_that_of_flower() {
    let both = Both::start().await;
    // Both hear both workers before there is anything to tell of.
    testkit::eventually(SOON, async || {
        let heard: BTreeSet<String> = both.heard_by_flower().await?.into_keys().collect();
        same("workers", heard, WORKERS.map(str::to_owned).into())?;
        let page = both.page("/workers").await;
        WORKERS.iter().try_for_each(|node| row(&page, "Worker", node).map(drop))
    })
    .await;
    both.work().await;
    testkit::eventually(SOON, async || workers(&both).await).await;
    for node in WORKERS {
        testkit::eventually(SOON, async || worker(&both, node).await).await;
    }
    testkit::eventually(SOON, async || list(&both).await).await;
    let all = both.flower("/api/tasks").await.unwrap();
    let shipped = all.as_object().unwrap().values().find(|task| task["name"] == "shop.ship").unwrap();
    for id in TASKS.map(|(id, _)| id).into_iter().chain(shipped["uuid"].as_str()) {
        task(&both, id).await.unwrap_or_else(|wrong| panic!("{id}: {wrong}"));
    }
    testkit::eventually(SOON, async || queues(&both).await).await;
    testkit::eventually(SOON, async || sums(&both).await).await;
}

/// The table of workers: what their heartbeats tell.
async fn workers(both: &Both) -> Result<(), String> {
    let (page, heard) = (both.page("/workers").await, both.heard_by_flower().await?);
    same("number of workers", rows(&page).len(), heard.len())?;
    for (node, told) in heard {
        let ours = row(&page, "Worker", &node)?;
        let is = |label: &str, flowers: String| same(&format!("{label} of {node}"), ours[label].clone(), flowers);
        same(&format!("whether {node} is there"), ours["State"].starts_with("● here"), told["status"] == true)?;
        is("Running", told["active"].to_string())?;
        is("Processed", told["processed"].to_string())?;
        is("Failed", told.get("task-failed").map_or_else(|| "0".to_owned(), Value::to_string))?;
        let load = told["loadavg"].as_array().into_iter().flatten().filter_map(Value::as_f64);
        is("Load", load.map(|load| format!("{load:.2}")).collect::<Vec<_>>().join(" "))?;
        let word = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        is("Software", format!("{} {}", word("sw_ident"), word("sw_ver")))?;
    }
    Ok(())
}

/// One worker: what it has announced, and what it replies when it is asked.
async fn worker(both: &Both, node: &str) -> Result<(), String> {
    let page = both.page(&format!("/workers/{}", node.replace('@', "%40"))).await;
    let heard = both.heard_by_flower().await?.remove(node).ok_or("Flower has forgotten it")?;
    let count = |kind: &str| heard.get(kind).and_then(Value::as_u64).unwrap_or(0);
    let announced = fact(&page, "Announced").ok_or("it announces nothing")?;
    let flowers = ["received", "started", "succeeded", "failed", "retried", "revoked"]
        .map(|kind| format!("{} {kind}", count(&format!("task-{kind}"))));
    same("Announced", announced.split("; ").next(), Some(flowers.join(", ").as_str()))?;

    let asked = both.flower(&format!("/api/workers?refresh=1&workername={}", node.replace('@', "%40"))).await?;
    let asked = &asked[node];
    let pool = &asked["stats"]["pool"]["max-concurrency"];
    let running = format!("{} in {pool} places, prefetch {}", heard["active"], asked["stats"]["prefetch_count"]);
    same("Running", fact(&page, "Running"), Some(running))?;
    let names = |list: &Value| -> BTreeSet<String> {
        let name = |queue: &Value| queue["name"].as_str().or(queue.as_str()).map(str::to_owned);
        list.as_array().into_iter().flatten().filter_map(name).collect()
    };
    for (heading, list) in [("Queues that it takes tasks from", "active_queues"), ("Tasks that it knows", "registered")]
    {
        let section = section(&page, heading).ok_or(heading)?;
        let ours: BTreeSet<String> = section.split("<li>").skip(1).map(text).collect();
        same(heading, ours, names(&asked[list]))?;
    }
    for (heading, list) in
        [("Running now", "active"), ("Waiting for a place", "reserved"), ("Waiting for their time", "scheduled")]
    {
        let section = section(&page, heading).ok_or(heading)?;
        let ours: BTreeSet<_> = rows(section).iter().map(|row| (row["Id"].clone(), row["Task"].clone())).collect();
        let told = asked[list].as_array().ok_or_else(|| format!("Flower was not told {list}"))?;
        let task = |told: &Value| {
            let request = told.get("request").unwrap_or(told);
            ["id", "name"].map(|field| request[field].as_str().unwrap_or_default().to_owned()).into()
        };
        same(heading, ours, told.iter().map(task).collect())?;
    }
    Ok(())
}

/// The list of tasks, as a whole and by each state.
async fn list(both: &Both) -> Result<(), String> {
    for state in ["", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED"] {
        let page = both.page(&format!("/tasks?state={state}")).await;
        let flowers =
            both.flower(&format!("/api/tasks?state={}", if state.is_empty() { "All" } else { state })).await?;
        let task = |task: &Value| {
            let text = |field: &str| task[field].as_str().unwrap_or_default().to_owned();
            (text("uuid"), text("name"), text("state"), text("worker"), task["retries"].to_string())
        };
        // What nobody has received has neither worker nor retries: here that is a dash.
        let known = |text: String, word: &str| if text == word { "–".to_owned() } else { text };
        let flowers: BTreeSet<_> = flowers.as_object().into_iter().flat_map(|all| all.values().map(task)).collect();
        let flowers: BTreeSet<_> = flowers
            .into_iter()
            .map(|(id, name, state, worker, retries)| {
                (short(&id), name, state, known(worker, ""), known(retries, "null"))
            })
            .collect();
        let ours: BTreeSet<_> = rows(&page)
            .into_iter()
            .map(|row| {
                let state = row["State"].split(' ').next_back().unwrap_or_default().to_owned();
                (row["Id"].clone(), row["Task"].clone(), state, row["Worker"].clone(), row["Retries"].clone())
            })
            .collect();
        same(&format!("tasks in state {state}"), &ours, &flowers)?;
        if !ours.is_empty() {
            let told = format!("1–{0} of {0}", ours.len());
            assert!(text(&page).contains(&told), "{told} is not on the page of {state}");
        }
    }
    Ok(())
}

fn short(id: &str) -> String {
    if id.len() <= 12 { id.to_owned() } else { id.chars().take(8).collect() }
}

/// One task: everything that Flower's page shows of it.
async fn task(both: &Both, id: &str) -> Result<(), String> {
    let page = both.page(&format!("/tasks/{id}")).await;
    let flowers = both.flower(&format!("/api/task/info/{id}")).await?;
    let told = |field: &str| flowers[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let heading = page.split_once("<h1>").map(|(_, rest)| text(rest.split('<').next().unwrap_or_default()));
    same("name", heading, told("name"))?;
    same("state", Some(state_of(&page)), told("state"))?;
    times(&page, &flowers)?;

    // `()` is what a task without positional arguments is called with; both say so.
    for (ours, field) in [("args", "args"), ("kwargs", "kwargs"), ("What it returned", "result")] {
        let ours = preformatted(&page, ours);
        match (&ours, told(field)) {
            // Here long texts are cut, and the page says how long they were.
            (Some(ours), Some(whole)) if ours.len() < whole.len() => {
                let cut = format!("1,024 of {} characters", whole.chars().count());
                let cut =
                    if whole.len() > 999 { cut.replace(&whole.len().to_string(), &grouped(whole.len())) } else { cut };
                if !whole.starts_with(ours.as_str()) || !text(&page).contains(&cut) {
                    return Err(format!("{field} is cut otherwise: {ours} of {whole}, {cut}"));
                }
            }
            (ours, whole) => same(field, ours.clone(), whole)?,
        }
    }

    // Flower goes on showing the error of an earlier try beside a task that has succeeded since; here it stands at that try.
    let error =
        page.split_once("<div class=\"note bad\"><p><strong>").and_then(|(_, rest)| rest.split_once("</strong>"));
    let error = error.map(|(error, _)| text(error));
    let succeeded = flowers["state"] == "SUCCESS";
    let flowers_error = told("exception").map(|error| error.split_whitespace().collect::<Vec<_>>().join(" "));
    match (&flowers_error, succeeded) {
        (Some(earlier), true) => {
            let steps = text(section(&page, "What happened").ok_or("nothing happened")?);
            if error.is_some() || !steps.contains(earlier) {
                return Err(format!("{earlier} does not stand at its try: {steps}"));
            }
        }
        _ => same("exception", error, flowers_error)?,
    }
    if let (Some(ours), false) =
        (preformatted(&page.replace("<summary>Traceback</summary>", ">Traceback</h2>"), "Traceback"), succeeded)
    {
        same("traceback", Some(ours), told("traceback"))?;
    }
    for (term, field) in [
        ("Worker", "worker"),
        ("Sent by", "client"),
        ("Routing key", "routing_key"),
        ("Not before", "eta"),
        ("Not after", "expires"),
    ] {
        same(term, fact(&page, term), told(field))?;
    }
    same("retries", fact(&page, "Tried before"), flowers["retries"].as_u64().map(|retries| retries.to_string()))?;
    // Flower tells of parent and root by their ids; here they are drawn, where there are any.
    if let (Some(root), Some(parent)) = (told("root_id"), told("parent_id"))
        && parent != id
    {
        let drawn = section(&page, "What it belongs to").ok_or("it belongs to nothing here")?;
        if ![&root, &parent].iter().all(|id| drawn.contains(id.as_str())) {
            return Err(format!("{root} and {parent} are not drawn: {drawn}"));
        }
    }
    Ok(())
}

fn grouped(number: usize) -> String {
    format!("{},{:03}", number / 1_000, number % 1_000)
}

/// When what happened, and how long it ran.
fn times(page: &str, flowers: &Value) -> Result<(), String> {
    let mut steps = BTreeMap::new();
    for step in section(page, "What happened").ok_or("nothing happened")?.split("<li>").skip(1) {
        let at = step.split_once("title=\"").and_then(|(_, rest)| rest.split_once(" UTC\"")).ok_or("no time")?.0;
        let at =
            chrono::NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S%.6f").map_err(|error| error.to_string())?;
        let what =
            step.split_once("<span class=\"what\">").and_then(|(_, rest)| rest.split_once('<')).ok_or("no step")?;
        // Of several tries the last, as Flower has it.
        steps.insert(what.0.to_owned(), at.and_utc().timestamp_micros() as f64 / 1e6);
    }
    for what in ["sent", "received", "started", "succeeded", "failed", "retried", "revoked"] {
        match (steps.get(what), flowers[what].as_f64()) {
            (None, None) => {}
            (Some(ours), Some(flowers)) if (ours - flowers).abs() < ROUNDED => {}
            (ours, flowers) => return Err(format!("{what} at {ours:?} here, at {flowers:?} in Flower")),
        }
    }
    let line = page.split_once("<div class=\"cols\"><div>").and_then(|(_, rest)| rest.split_once("</p>"));
    let line = line.map(|(line, _)| text(line)).ok_or("no first line")?;
    let ran = line.split_once("ran ").map(|(_, ran)| ran.to_owned());
    // Flower knows no runtime of a task that has failed, or that runs.
    let Some(runtime) = flowers["runtime"].as_f64() else { return Ok(()) };
    let ran = ran.ok_or("it ran for no time here")?;
    let (value, unit) = ran.split_once(' ').ok_or("no unit")?;
    let scale = if unit == "ms" { 1e-3 } else { 1.0 };
    let last_place = if value.contains('.') { 0.1 } else { 1.0 };
    let ours = value.parse::<f64>().map_err(|error| format!("{ran}: {error}"))? * scale;
    if (ours - runtime).abs() > last_place * scale * 0.51 {
        return Err(format!("ran for {ran} here, for {runtime} s in Flower"));
    }
    Ok(())
}

/// How full queues are. Flower adds what is not acknowledged to what is ready, and does not see a queue that no worker takes
/// from, which is the one to worry about.
async fn queues(both: &Both) -> Result<(), String> {
    let page = both.page("/queues").await;
    let flowers = both.flower("/api/queues/length").await?;
    let lengths = flowers["active_queues"].as_array().cloned().unwrap_or_default();
    let named = |queue: &Value| Some((queue["name"].as_str()?.to_owned(), queue["messages"].as_u64()?));
    let lengths: BTreeMap<String, u64> = lengths.iter().filter_map(named).collect();
    same("queues", lengths.keys().map(String::as_str).collect::<Vec<_>>(), vec!["python", "shop"])?;
    for (name, length) in &lengths {
        let ours = row(&page, "Queue", name)?;
        same(name, number(&ours["Ready"]) + number(&ours["Unacknowledged"]), *length)?;
    }
    // One waits for a place and one for its time; what runs was acknowledged when it began.
    same("what is not acknowledged in shop", row(&page, "Queue", "shop")?["Unacknowledged"].as_str(), "2")?;
    same("what nobody takes", row(&page, "Queue", "nobody")?["Ready"].as_str(), "2")
}

/// What Flower counts for Prometheus, beside the overview, the workers and the ranking.
async fn sums(both: &Both) -> Result<(), String> {
    let metrics = get(&format!("{}/metrics", both.flowers)).await.text().await.expect("metrics");
    let sum = |name: &str, labels: &[(&str, &str)]| -> u64 {
        let is = |line: &&str| {
            line.starts_with(&format!("{name}{{"))
                && labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        metrics.lines().filter(is).filter_map(value).sum::<f64>() as u64
    };
    let events = |labels: &[(&str, &str)]| sum("flower_events_total", labels);
    let workers = both.page("/workers").await;
    for node in WORKERS {
        let ours = row(&workers, "Worker", node)?;
        let running = sum("flower_worker_number_of_currently_executing_tasks", &[("worker", node)]);
        same(&format!("running on {node}"), number(&ours["Running"]), running)?;
        same(
            &format!("failed on {node}"),
            number(&ours["Failed"]),
            events(&[("worker", node), ("type", "task-failed")]),
        )?;
        same(
            &format!("{node} is there"),
            u64::from(ours["State"].starts_with('●')),
            sum("flower_worker_online", &[("worker", node)]),
        )?;
        let page = both.page(&format!("/workers/{}", node.replace('@', "%40"))).await;
        let waiting = rows(section(&page, "Waiting for a place").ok_or("no section")?).len() as u64;
        same(&format!("prefetched by {node}"), waiting, sum("flower_worker_prefetched_tasks", &[("worker", node)]))?;
    }
    let overview = text(&both.page("/").await);
    let [succeeded, failed, retried] =
        ["succeeded", "failed", "retried"].map(|kind| events(&[("type", &format!("task-{kind}"))]));
    let told = format!("{succeeded} done and {failed} failed in the last hour, {retried} tried again");
    if !overview.contains(&told) {
        return Err(format!("{told} is not on the overview: {overview}"));
    }
    // This hour and the one before, in case it has just struck.
    let hour = (celeriac::clock::unix_seconds() / 3_600.0) as u64;
    let rankings =
        [both.page(&format!("/ranking?hour={hour}")).await, both.page(&format!("/ranking?hour={}", hour - 1)).await];
    let ranked = |name: &str, label: &str| -> u64 {
        rankings.iter().filter_map(|page| row(page, "Task", name).ok()).map(|row| number(&row[label])).sum()
    };
    let all = both.flower("/api/tasks").await?;
    let mut by_name: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for task in all.as_object().into_iter().flat_map(|all| all.values()) {
        let counts = by_name.entry(task["name"].as_str().unwrap_or_default().to_owned()).or_default();
        counts.0 += 1;
        counts.1 += u64::from(task["state"] == "FAILURE");
    }
    for (name, (heard, failed)) in by_name {
        same(&format!("tasks of {name}"), ranked(&name, "Heard of"), heard)?;
        same(&format!("failures of {name}"), ranked(&name, "Failed"), failed)?;
    }
    Ok(())
}
