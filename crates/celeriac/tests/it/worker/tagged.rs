//! Decimals, times, UUIDs and bytes come to Python as its own, and from there as ours.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use celeriac::canvas::{Canvas, Signature};
use celeriac::protocol::{Json, RawJson};
use celeriac::tagged::{Tag, Tagged, TypeTags};
use celeriac::{Context, SendOptions, Task, TaskResult, Worker};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::{Process, Signal};
use uuid::Uuid;

use super::python::folder;
use super::setup::{Serving, Setup};
use super::tasks::Log;

const LATER: Duration = Duration::from_secs(60);

/// Each field says how it is written.
#[derive(Task, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[task(name = "r.double")]
struct Charge {
    #[serde(with = "celeriac::tagged::decimal")]
    total: Decimal,
    #[serde(default, with = "celeriac::tagged::uuid", skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
}

/// No field says anything.
#[derive(Task, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[task(name = "r.types")]
struct Plain {
    total: Decimal,
    parts: Vec<Decimal>,
    maybe: Option<Decimal>,
    nothing: Option<Decimal>,
    by_name: BTreeMap<String, Decimal>,
    boxed: Box<Decimal>,
    pair: (Uuid, NaiveDate),
    when: DateTime<Utc>,
    local: DateTime<FixedOffset>,
    naive: NaiveDateTime,
    at: NaiveTime,
    amount: Amount,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(transparent)]
struct Amount(Decimal);

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn plain() -> Plain {
    Plain {
        total: decimal("12.50"),
        parts: vec![decimal("0.10"), decimal("-3")],
        maybe: Some(decimal("1.0")),
        nothing: None,
        by_name: [("a".to_owned(), decimal("2.00"))].into(),
        boxed: Box::new(decimal("7")),
        pair: (Uuid::from_u128(1), "2026-11-29".parse().unwrap()),
        when: "2026-11-29T17:43:38.123456789Z".parse().unwrap(),
        local: "2026-11-29T17:43:00-03:30".parse().unwrap(),
        naive: "2026-11-29T17:43:38.5".parse().unwrap(),
        at: "17:43:38".parse().unwrap(),
        amount: Amount(decimal("9.99")),
    }
}

/// As Python shows what it got.
fn in_python() -> Value {
    json!({
        "args": "()",
        "total": "Decimal('12.50')",
        "parts": "[Decimal('0.10'), Decimal('-3')]",
        "maybe": "Decimal('1.0')",
        "nothing": "None",
        "by_name": "{'a': Decimal('2.00')}",
        "boxed": "Decimal('7')",
        "pair": "[UUID('00000000-0000-0000-0000-000000000001'), datetime.date(2026, 11, 29)]",
        "when": "datetime.datetime(2026, 11, 29, 17, 43, 38, 123456, tzinfo=datetime.timezone.utc)",
        "local": "datetime.datetime(2026, 11, 29, 17, 43, tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=73800)))",
        "naive": "datetime.datetime(2026, 11, 29, 17, 43, 38, 500000)",
        "at": "datetime.time(17, 43, 38)",
        "amount": "Decimal('9.99')",
    })
}

fn tags() -> TypeTags {
    TypeTags::known().with::<Amount>(Tag::Decimal)
}

fn python(setup: &Setup) -> Command {
    let mut command = Command::new(testkit::python());
    command.current_dir(folder()).env("BROKER", &setup.broker).env("BACKEND", &setup.backend);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

async fn python_worker(setup: &Setup) -> Process {
    let mut command = python(setup);
    command.args(["-m", "celery", "-A", "rich", "worker", "--pool=threads", "--concurrency=2", "-n", "rich@test"]);
    command.args(["--without-gossip", "--without-mingle", "--loglevel=info"]);
    let mut worker = Process::spawn("celery worker", command);
    worker.wait_for_line("ready.", LATER).await;
    worker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_celery_worker_gets_decimals_times_and_uuids_as_pythons_own() {
    let setup = Setup::classic().await;
    let app = setup.app().await;
    let mut worker = python_worker(&setup).await;

    // One field.
    let charge = || Charge { total: decimal("12.50"), id: Some(Uuid::from_u128(1)) };
    let doubled = app.send(charge()).await.unwrap().typed::<Decimal>();
    assert_eq!(doubled.get(LATER).await.unwrap().to_string(), "25.00");
    let chain = Signature::of(&charge()).unwrap() | Signature::new("r.double");
    let published = app.publish(chain).await.unwrap();
    assert_eq!(published.get::<Decimal>(LATER).await.unwrap().to_string(), "50.00");

    // A value that says itself what it is.
    let options = SendOptions::new();
    let args = (Tagged::decimal("12.50").unwrap(), Json::from(Uuid::from_u128(1)));
    let told = app.send_named("r.types", args, json!({}), options).await.unwrap().typed::<Value>();
    let expected = "(Decimal('12.50'), UUID('00000000-0000-0000-0000-000000000001'))";
    assert_eq!(told.get(LATER).await.unwrap()["args"], expected);
    let signature = Signature::new("r.types").arg(decimal("12.50")).arg(Some(Uuid::from_u128(1)));
    assert_eq!(app.publish(signature).await.unwrap().get::<Value>(LATER).await.unwrap()["args"], expected);

    // A whole application.
    let tagging = setup.builder().type_tags(tags()).build().await.unwrap();
    let told = tagging.send(plain()).await.unwrap().typed::<Value>();
    assert_eq!(told.get(LATER).await.unwrap(), in_python());
    let group = Canvas::group([tagging.signature(&plain()).unwrap(), tagging.signature(&plain()).unwrap()]);
    let published = tagging.publish(group).await.unwrap();
    assert_eq!(published.get::<Vec<Value>>(LATER).await.unwrap(), [in_python(), in_python()]);
    let kwargs = json!({});
    let told = tagging.send_named("r.double", (decimal("12.50"),), kwargs, SendOptions::new()).await.unwrap();
    assert_eq!(told.typed::<Decimal>().get(LATER).await.unwrap(), decimal("25.00"));

    worker.signal(Signal::Terminate);
    worker.wait(LATER).await;
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "r.echo")]
struct Rich {
    when: DateTime<Utc>,
    local: DateTime<FixedOffset>,
    naive: NaiveDateTime,
    day: NaiveDate,
    at: NaiveTime,
    id: Uuid,
    price: Decimal,
    prices: Vec<Decimal>,
    maybe: Option<Decimal>,
    nothing: Option<Uuid>,
    by_name: BTreeMap<String, Decimal>,
    #[serde(with = "celeriac::tagged::bytes")]
    raw: Vec<u8>,
    #[serde(with = "celeriac::tagged::bytes")]
    text: Vec<u8>,
    anything: Json,
}

async fn echo(task: Rich, _: Context) -> TaskResult<Rich> {
    Ok(task)
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "r.progress")]
struct Progress;

/// Stores a state of another task, which stays.
async fn progress(_: Progress, cx: Context) -> TaskResult<()> {
    cx.update_state("PROGRESS", &decimal("0.5")).await?;
    let meta = cx.app().backend().get(&cx.request().id).await?.unwrap_or_default();
    let stored = celeriac::backend::StoredResult { task_id: "progress-of-rich".to_owned(), meta, is_final: false };
    cx.app().backend().store(&[stored]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_celery_client_gets_back_what_it_sent_in_pythons_own_types() {
    let setup = Setup::classic().await;
    let app = setup.builder().type_tags(TypeTags::known()).build().await.unwrap();
    let worker = Worker::builder(app.clone()).task(echo).task(progress).queues(["rust"]);
    let serving = Serving::start(app, worker.build().unwrap(), Log::default());
    let mut command = python(&setup);
    command.arg("rich.py");
    let mut client = Process::spawn("rich.py", command);
    let ended = client.wait(LATER * 2).await;
    assert!(ended.success(), "{}", client.output());
    let seen: Value = serde_json::from_str(client.output().lines().last().unwrap()).unwrap();
    assert_eq!((&seen["different"], &seen["types"]), (&json!({}), &json!("Decimal")), "{seen}");
    for (what, words) in [
        ("naive", "a time without an offset from UTC (a naive datetime of Python) does not fit"),
        ("aware", "a time with an offset from UTC does not fit: read it as chrono::DateTime"),
        ("date", "a date, without a time and an offset from UTC, does not fit"),
        ("text", "a time without an offset from UTC (a naive datetime of Python) does not fit"),
    ] {
        let told = seen[what].as_str().unwrap();
        assert!(told.starts_with("TypeError: echo() argument '") && told.contains(words), "{what}: {told}");
    }
    assert_eq!(seen["progress"], "Decimal('0.5')");
    serving.stop().await;
}

#[test]
fn what_is_written_with_a_tag_is_read_back_with_it_and_without() {
    let charge = Charge { total: decimal("12.50"), id: None };
    let written = serde_json::to_string(&charge).unwrap();
    assert_eq!(written, r#"{"total":{"__type__":"decimal","__value__":"12.50"}}"#);
    assert_eq!(serde_json::from_str::<Charge>(&written).unwrap(), charge, "by serde_json alone");
    assert_eq!(RawJson::of(&charge).unwrap().read::<Charge>().unwrap(), charge);
    for untagged in [r#"{"total": "12.50"}"#, r#"{"total": 12.50}"#] {
        let read = RawJson::parse(untagged).unwrap().read::<Charge>().unwrap();
        assert_eq!(read.total.normalize(), charge.total.normalize(), "{untagged}");
    }
    let wrong = RawJson::parse(r#"{"total": "a lot"}"#).unwrap().read::<Charge>();
    assert!(wrong.is_err());
}

#[test]
fn without_tags_a_value_is_written_as_before() {
    let written = RawJson::of(&plain()).unwrap();
    assert_eq!(Json::of(&plain()).unwrap(), written.to_tree(), "as a tree, too");
    assert_eq!(written.to_tree().get("total").and_then(Json::as_str), Some("12.50"));
    assert_eq!(written.read::<Plain>().unwrap(), plain());
}

#[test]
fn json_and_tagged_values_are_serialized_as_they_are_written() {
    let text = concat!(
        r#"{"n":null,"b":true,"i":-5,"u":18446744073709551615,"big":123456789012345678901234567890,"f":1.5,"e":-0.25,"#,
        r#""huge":1234567890123456789012345678901234567890123,"s":"снег","l":[1,"2",[]],"o":{},"#,
        r#""t":{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000001"}},"#,
        r#""y":{"__type__":"base64","__value__":"AP8="}}"#
    );
    let tree = RawJson::parse(text).unwrap().to_tree();
    let mut written = Vec::new();
    tree.write(&mut written);
    let serialized = serde_json::to_string(&tree).unwrap();
    assert_eq!(serialized.as_bytes(), written, "{serialized}");
    assert_eq!(Json::of(&tree).unwrap(), tree);
    assert_eq!(RawJson::of(&tree).unwrap().to_tree(), tree);
    // What fits is read back as it was, tags and all.
    let small = RawJson::parse(r#"{"a":[{"__type__":"decimal","__value__":"1.0"}],"b":2.5,"c":null}"#).unwrap();
    assert_eq!(small.read::<Json>().unwrap(), small.to_tree());
    assert_eq!(serde_json::from_str::<Json>(small.as_str()).unwrap(), small.to_tree());
}
