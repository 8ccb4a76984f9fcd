//! Celery itself at the other end: as the client, as the worker, and as one of two workers that share a workflow.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use celeriac::canvas::{Canvas, Signature};
use celeriac::{GetError, Published};
use serde_json::{Value, json};
use testkit::{Process, Signal};

use super::ours::kinds;
use super::tasks::{serve_queue, task};
use crate::worker::setup::{SOON, Setup};

/// A Python program takes seconds to start while others build.
const PATIENTLY: Duration = Duration::from_secs(60);

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/canvas_run")
}

pub(super) fn python(setup: &Setup) -> Command {
    let python = if setup.is_celery_5_5 { testkit::python_with_celery_5_5() } else { testkit::python() };
    let mut command = Command::new(python);
    let backend = setup.backend.replace("postgres://", "db+postgresql://");
    command.current_dir(directory()).env("BROKER", &setup.broker).env("BACKEND", backend);
    command.env("PYTHONDONTWRITEBYTECODE", "1").envs(setup.python.iter().map(|(name, value)| (*name, value)));
    command
}

/// A worker of Celery's.
pub(super) async fn python_worker(setup: &Setup, queue: &str) -> Process {
    let mut command = python(setup);
    command.args(["-m", "celery", "-A", "proj", "worker", "--loglevel", "INFO", "--pool", "threads", "-c", "2"]);
    command.args(["-Q", queue, "-n", &format!("{queue}@python"), "--without-mingle", "--without-gossip"]);
    let mut worker = Process::spawn("celery worker", command);
    worker.wait_for_line("ready.", PATIENTLY).await;
    worker
}

/// A client of Celery's; answers what it printed as its answer.
pub(super) async fn client(setup: &Setup, arguments: &[&str]) -> String {
    client_of(setup, "client.py", arguments).await
}

/// The same for a script of its own.
pub(super) async fn client_of(setup: &Setup, script: &'static str, arguments: &[&str]) -> String {
    let mut command = python(setup);
    command.arg(script).args(arguments);
    let mut client = Process::spawn(script, command);
    let ended = client.wait(Duration::from_secs(150)).await;
    let output = client.output();
    assert!(ended.success(), "{output}");
    let answer = output.lines().find_map(|line| line.strip_prefix("answer: "));
    answer.unwrap_or_else(|| panic!("no answer:\n{output}")).to_owned()
}

pub(super) async fn stop(mut worker: Process) {
    worker.signal(Signal::Terminate);
    worker.wait(PATIENTLY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workflows_built_in_python_run_on_our_worker() {
    workflows_run_on_our_worker(Setup::classic().await).await;
}

/// Its groups in headers have the id of the chord around them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workflows_built_with_celery_5_5_run_on_our_worker() {
    workflows_run_on_our_worker(Setup::with_celery_5_5().await).await;
}

async fn workflows_run_on_our_worker(setup: Setup) {
    let serving = serve_queue(setup.app().await, "celery");
    assert_eq!(client(&setup, &["run", "celery"]).await, "ok");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_workflows_run_on_a_python_worker() {
    our_workflows_run(Setup::classic().await, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_workflows_run_on_a_worker_of_celery_5_5() {
    // What it does not do with its own client either: these end never, or in no order.
    let broken = [
        "chord of chains that end in groups",
        "chord of a chord whose body is a group",
        "replaced by a chain that ends in a group",
        "replaced in a chord, by each kind",
    ];
    our_workflows_run(Setup::with_celery_5_5().await, &broken).await;
}

async fn our_workflows_run(setup: Setup, except: &[&str]) {
    let worker = python_worker(&setup, "celery").await;
    let app = setup.app().await;
    for (what, canvas, expected) in kinds().into_iter().filter(|(what, ..)| !except.contains(what)) {
        let published = app.publish(canvas).await.expect(what);
        assert_eq!(published.get::<Value>(SOON).await.expect(what), expected, "{what}");
    }
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_workflow_passes_through_both_kinds_of_worker() {
    one_workflow_passes_through_both(Setup::classic().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_workflow_passes_through_our_worker_and_one_of_celery_5_5() {
    one_workflow_passes_through_both(Setup::with_celery_5_5().await).await;
}

async fn one_workflow_passes_through_both(setup: Setup) {
    let worker = python_worker(&setup, "python").await;
    let serving = serve_queue(setup.app().await, "rust");

    // Both orders: each side is first, is last in a chord, and sends the body.
    assert_eq!(client(&setup, &["run", "rust", "python"]).await, "ok");
    assert_eq!(client(&setup, &["run", "python", "rust"]).await, "ok");

    let on = |queue: &str, task: Signature| task.with("queue", queue);
    for (first, second) in [("rust", "python"), ("python", "rust")] {
        let chain = on(first, task("add", [1])) | on(second, task("add", [2])) | on(first, task("add", [3]));
        let header = [on(first, task("add", [1])), on(second, task("add", [1])), on(first, task("add", [2]))];
        let canvas = chain | Canvas::group(header) | on(second, task("echo", [])) | on(first, task("echo", []));
        let published = serving.app.publish(canvas).await.unwrap();
        assert_eq!(published.get::<Value>(SOON).await.unwrap(), json!([[[7, 7, 8]]]), "{first} first");

        let header = [on(first, task("add", [1])), on(second, task("fail", []))];
        let body = on(first, task("tsum", []));
        let published = serving.app.publish(Canvas::chord(header, body)).await.unwrap();
        let error = published.get::<Value>(SOON).await.unwrap_err();
        let GetError::Failed(failure) = &error else { panic!("{error}") };
        assert!(failure.repr().contains("raised ValueError('boom')"), "{error}");
    }
    serving.stop().await;
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_one_side_saves_the_other_restores() {
    let setup = Setup::classic().await;
    let serving = serve_queue(setup.app().await, "celery");
    let id = client(&setup, &["save"]).await;
    let group = serving.app.restore_group(&id).await.unwrap().expect("Python has saved it");
    assert_eq!(group.get::<i64>(SOON).await.unwrap(), [1, 2]);

    let ours = Canvas::group([task("add", [1]), task("add", [2])]);
    let Published::Group(group) = serving.app.publish(ours).await.unwrap() else { panic!("a group") };
    group.save().await.unwrap();
    assert_eq!(client(&setup, &["restore", group.id()]).await, "ok");
    serving.stop().await;
}
