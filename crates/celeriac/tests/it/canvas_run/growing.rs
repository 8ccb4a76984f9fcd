//! Chords to which a task of the header adds another one (`self.add_to_chord`), and those whose results come in the order
//! of their ends.

use celeriac::GetError;
use celeriac::canvas::{Canvas, Signature};
use serde_json::{Value, json};

use super::python::{python_worker, stop};
use super::tasks::{Ids, serve, serve_queue, task};
use crate::worker::on_every_broker;
use crate::worker::setup::{SOON, Setup};

async fn a_task_that_is_added_to_a_chord_is_waited_for(setup: Setup) {
    let serving = serve(&setup).await;
    let published = serving.app.publish(Canvas::chord([task("join", [5]), task("add", [7])], task("tsum", []))).await;
    assert_eq!(published.unwrap().get::<i64>(SOON).await.unwrap(), 13);
    serving.stop().await;
}

/// A task of a header that adds this to the chord.
fn joining(canvas: impl Into<Canvas>) -> Signature {
    task("join", [5]).kwarg("sig", canvas.into().to_json())
}

async fn a_workflow_that_is_added_to_a_chord_is_waited_for(setup: Setup) {
    let serving = serve(&setup).await;
    let group = || Canvas::group([task("add", [1]), task("add", [2])]);
    for (what, added, sum) in [
        ("chain", task("add", [1]) | task("add", [2]), 3),
        ("chord", Canvas::chord([task("add", [1]), task("add", [2])], task("tsum", [])), 3),
        ("chord whose body is a group", Canvas::chord([task("add", [1])], group_of_sums()), 2),
        ("group", group(), 3),
        ("chain that ends in a group", task("add", [1]) | group(), 5),
        ("empty group", Canvas::group(Vec::<Signature>::new()), 0),
    ] {
        let chord = Canvas::chord([joining(added), task("add", [7])], task("tsum", []));
        let published = serving.app.publish(chord).await.expect(what);
        assert_eq!(published.get::<i64>(SOON).await.expect(what), 12 + sum, "{what}");
    }
    serving.stop().await;
}

fn group_of_sums() -> Canvas {
    Canvas::group([task("tsum", []), task("tsum", [])])
}

async fn only_a_task_of_a_chord_can_add_one_to_it(setup: Setup) {
    let serving = serve(&setup).await;
    let published = serving.app.publish(task("join", [5])).await.unwrap();
    let error = published.get::<i64>(SOON).await.unwrap_err();
    assert!(
        matches!(&error, GetError::Failed(failure) if failure.to_string().contains("Current task is not member of any chord")),
        "{error}"
    );
    serving.stop().await;
}

on_every_broker!(
    a_task_that_is_added_to_a_chord_is_waited_for,
    a_workflow_that_is_added_to_a_chord_is_waited_for,
    only_a_task_of_a_chord_can_add_one_to_it,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_either_side_adds_to_a_chord_the_other_waits_for() {
    let setup = Setup::classic().await;
    let worker = python_worker(&setup, "python").await;
    let serving = serve_queue(setup.app().await, "rust");
    for (joining, last) in [("rust", "python"), ("python", "rust")] {
        let header = [task("join", [5]).with("queue", joining), task("add", [7]).with("queue", last)];
        let published = serving.app.publish(Canvas::chord(header, task("tsum", []).with("queue", last))).await.unwrap();
        assert_eq!(published.get::<i64>(SOON).await.unwrap(), 13, "{joining} adds");
        let chain = task("add", [1]).with("queue", last) | task("add", [2]).with("queue", joining);
        let header = [self::joining(chain).with("queue", joining), task("add", [7]).with("queue", last)];
        let published = serving.app.publish(Canvas::chord(header, task("tsum", []).with("queue", last))).await.unwrap();
        assert_eq!(published.get::<i64>(SOON).await.unwrap(), 15, "{joining} adds a chain");
    }
    serving.stop().await;
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_chords_are_not_ordered_the_results_come_as_the_tasks_end_on_both_sides() {
    let ids = Ids::new();
    let mut setup = Setup::classic().await;
    setup.python = vec![("CHORD_ORDERED", "0".to_owned())];
    let worker = python_worker(&setup, "python").await;
    let app = setup.builder().result_chord_ordered(false).build().await.unwrap();
    let serving = serve_queue(app, "rust");
    for (first, second) in [("rust", "python"), ("python", "rust")] {
        let header = [
            // It is sent when the other one has ended.
            task("add", [1]).with("queue", first).with("countdown", 2),
            ids.name(first, task("add", [2]).with("queue", second)),
        ];
        let body = task("echo", []).with("queue", first);
        let published = serving.app.publish(Canvas::chord(header, body)).await.unwrap();
        assert_eq!(published.get::<Value>(SOON).await.unwrap(), json!([[2, 1]]), "{second} ends first");
    }
    serving.stop().await;
    stop(worker).await;
}
