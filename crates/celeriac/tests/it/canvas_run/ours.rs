//! Our workflows on our worker.

use celeriac::broker::Publication;
use celeriac::canvas::{Canvas, Signature};
use celeriac::protocol::{Json, ResultMeta, ResultTuple, State, TaskMessage};
use celeriac::{GetError, Published};
use serde_json::{Value, json};

use super::tasks::{Ids, replaced, serve, task};
use crate::worker::on_every_broker;
use crate::worker::setup::{SOON, Serving, Setup, drain};

async fn value(serving: &Serving, canvas: impl Into<Canvas>) -> Value {
    let published = serving.app.publish(canvas).await.expect("it can be published");
    published.get(SOON).await.expect("it succeeds")
}

/// Workflows of each kind, and what they answer.
pub(super) fn kinds() -> Vec<(&'static str, Canvas, Value)> {
    let pair = || [task("add", [1, 1]), task("add", [2, 2])];
    let more = || [task("add", [1]), task("add", [2])];
    let pairs = [(1, 1), (2, 2), (3, 3)];
    vec![
        ("task", task("add", [1, 2]).into(), json!(3)),
        ("chain", task("add", [1, 2]) | task("add", [10]) | task("add", [100]), json!(113)),
        ("immutable step", task("add", [1, 2]) | task("add", [10]).immutable(), json!(10)),
        ("group", Canvas::group(pair()), json!([2, 4])),
        ("group of one", Canvas::group([task("add", [1, 1])]), json!([2])),
        ("empty group", Canvas::group(Vec::<Signature>::new()), json!([])),
        (
            "group of chains",
            Canvas::group([task("add", [1]) | task("add", [1]), task("add", [5]) | task("add", [5])]),
            json!([2, 10]),
        ),
        (
            "nested groups keep their order",
            Canvas::group([Canvas::from(task("add", [1])), Canvas::group([task("add", [2]), task("add", [3])])]),
            json!([1, 2, 3]),
        ),
        ("chord", Canvas::chord(pair(), task("tsum", [])), json!(6)),
        ("chord without a header", Canvas::chord(Vec::<Signature>::new(), task("echo", [])), json!([[]])),
        ("group in a chain", Canvas::group(pair()) | task("tsum", []) | task("add", [10]), json!(16)),
        (
            "chord in the middle",
            task("add", [1, 1]) | Canvas::group([task("add", [1]), task("add", [2])]) | task("echo", []),
            json!([[3, 4]]),
        ),
        (
            "chain that ends in a group",
            task("add", [1, 1]) | Canvas::group([task("add", [1]), task("add", [2])]),
            json!([3, 4]),
        ),
        (
            "chord of chains",
            Canvas::chord([task("add", [1]) | task("add", [1]), task("add", [5]) | task("add", [5])], task("echo", [])),
            json!([[2, 10]]),
        ),
        (
            "chord of chords",
            Canvas::chord(
                [Canvas::chord(pair(), task("tsum", [])), Canvas::chord(pair(), task("tsum", []))],
                task("tsum", []),
            ),
            json!(12),
        ),
        ("chord whose body is a chain", Canvas::chord(pair(), task("tsum", []) | task("add", [1])), json!(7)),
        (
            "chord whose body is a group",
            Canvas::chord(pair(), Canvas::group([task("tsum", []), task("tsum", [1])])),
            json!([6, 7]),
        ),
        (
            "chord of chains that end in groups",
            Canvas::chord([task("add", [1, 1]) | Canvas::group(more()), task("add", [5]).into()], task("echo", [])),
            json!([[[3, 4], 5]]),
        ),
        (
            "chord of a chord whose body is a group",
            Canvas::chord(
                [Canvas::chord(more(), Canvas::group([task("tsum", []), task("tsum", [1])])), task("add", [5]).into()],
                task("echo", []),
            ),
            json!([[[3, 4], 5]]),
        ),
        (
            "group of chains that end in groups",
            Canvas::group([task("add", [1]) | Canvas::group(more()), task("add", [9]).into()]),
            json!([[2, 3], 9]),
        ),
        ("map", Canvas::map(&task("tsum", []), [vec![1, 2], vec![3]]).unwrap(), json!([3, 3])),
        ("starmap", Canvas::starmap(&task("add", []), pairs).unwrap(), json!([2, 4, 6])),
        ("replaced", replaced(task("add", [1, 2])).into(), json!(3)),
        ("replaced twice", replaced(replaced(task("add", [1, 2]))).into(), json!(3)),
        (
            "replaced in a chain",
            task("add", [1]) | replaced(task("add", [1]) | task("add", [2])) | task("add", [10]),
            json!(13),
        ),
        ("replaced by a group", replaced(Canvas::group(pair())).into(), json!([2, 4])),
        ("replaced by an empty group", replaced(Canvas::group(Vec::<Signature>::new())).into(), json!([])),
        (
            "replaced by an empty group in a chain",
            replaced(Canvas::group(Vec::<Signature>::new())) | task("echo", []),
            json!([[]]),
        ),
        (
            "replaced by a chain that ends in a group",
            replaced(task("add", [1]) | Canvas::group([task("add", [1]), task("add", [2])])).into(),
            json!([2, 3]),
        ),
        (
            "replaced by a chord in a chain",
            replaced(Canvas::chord(pair(), task("tsum", []))) | task("add", [1]),
            json!(7),
        ),
        (
            "replaced in a chord, by each kind",
            Canvas::chord(
                [
                    replaced(task("add", [1])),
                    replaced(task("add", [1]) | task("add", [1])),
                    replaced(Canvas::group(pair())),
                    replaced(Canvas::chord(pair(), task("tsum", []))),
                ],
                task("echo", []),
            ),
            json!([[1, 2, [2, 4], 6]]),
        ),
        ("replaced body of a chord", Canvas::chord(pair(), replaced(task("add", [5]))), json!(5)),
        ("chunks", Canvas::chunks(&task("add", []), pairs, 2).unwrap(), json!([[2, 4], [6]])),
    ]
}

/// A step stores its result when the next one has been sent, which may be faster.
fn ended(meta: &ResultMeta) -> bool {
    meta.state.is_ready()
}

pub(super) async fn each_kind_of_workflow_gives_its_result(setup: Setup) {
    let serving = serve(&setup).await;
    for (what, canvas, expected) in kinds() {
        let published = serving.app.publish(canvas).await.expect(what);
        assert_eq!(published.get::<Value>(SOON).await.expect(what), expected, "{what}");
    }
    serving.stop().await;
}

async fn what_nothing_can_be_replaced_with_fails_the_task(setup: Setup) {
    let serving = serve(&setup).await;
    let in_a_chord = task("add", [1]).with("chord", task("tsum", []).to_json());
    for (with, text) in [
        (Canvas::chain(Vec::<Signature>::new()), "Cannot replace with an empty chain"),
        (in_a_chord.into(), "A signature replacing a task must not be part of a chord"),
    ] {
        let published = serving.app.publish(replaced(with)).await.unwrap();
        let Err(GetError::Failed(failure)) = published.get::<Value>(SOON).await else { panic!("it has not failed") };
        assert_eq!(failure.repr(), format!("ImproperlyConfigured('{text}')"));
    }
    serving.stop().await;
}

async fn what_follows_a_task_is_its_child_and_callbacks_get_the_result(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let callback = ids.name("callback", task("echo", []));
    let canvas =
        Canvas::from(ids.name("first", task("add", [1, 1]))).link(callback) | ids.name("second", task("add", [1]));
    assert_eq!(value(&serving, canvas).await, json!(3));
    assert_eq!(serving.app.result::<Value>(ids.of("callback")).get(SOON).await.unwrap(), json!([2]));
    let meta = serving.meta_when(&ids.of("first"), ended).await;
    let mut children: Vec<_> = meta.children.unwrap().into_iter().map(|child| child.id).collect();
    children.sort();
    assert_eq!(children, [ids.of("callback"), ids.of("second")]);
    let meta = serving.meta_when(&ids.of("second"), ended).await;
    assert_eq!(meta.parent_id, Some(ids.of("first")));
    serving.stop().await;
}

async fn a_workflow_begun_by_a_task_belongs_to_that_task(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let published = serving.app.publish(ids.name("beginner", task("begin", []))).await.unwrap();
    let id: String = published.get(SOON).await.unwrap();
    assert_eq!(serving.app.result::<i64>(id.as_str()).get(SOON).await.unwrap(), 3);
    let beginner = serving.meta_when(&ids.of("beginner"), ended).await;
    let first = beginner.children.unwrap().remove(0);
    let first = serving.meta_when(&first.id, ended).await;
    assert_eq!(first.parent_id, Some(ids.of("beginner")));
    assert_eq!(first.children, Some(vec![ResultTuple::task(id)]));
    serving.stop().await;
}

async fn a_failure_ends_the_chain_and_sends_the_errbacks(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let errback = ids.name("errback", task("echo", []));
    let failing = Canvas::from(ids.name("failing", task("fail", []))).link_error(errback);
    let canvas = Canvas::from(task("add", [1])) | failing | ids.name("never", task("add", [1])) | task("add", [1]);
    let published = serving.app.publish(canvas).await.unwrap();
    let error = published.get::<i64>(SOON).await.unwrap_err();
    assert!(matches!(&error, GetError::Failed(failure) if failure.repr() == "ValueError('boom')"), "{error}");
    // It is told of the step that failed, perhaps before the steps after it are.
    let never = serving.meta_when(&ids.of("never"), ended).await;
    assert_eq!(never.state, State::Failure);
    assert_eq!(serving.app.result::<Value>(ids.of("errback")).get(SOON).await.unwrap(), json!([ids.of("failing")]));
    serving.stop().await;
}

async fn a_task_that_runs_twice_sends_the_same_callback_again(setup: Setup) {
    let app = setup.app().await;
    let callback = task("echo", []).with("queue", Json::Str("elsewhere".to_owned()));
    app.declare_queue("elsewhere").await.unwrap();
    app.publish(Canvas::from(task("add", [1])).link(callback)).await.unwrap();
    let first = drain(&app, "celery", 1).await.remove(0);
    for _ in 0..2 {
        let message = first.message.clone();
        let (exchange, routing_key) = (String::new(), "celery".to_owned());
        app.broker().publish(Publication { exchange, routing_key, mandatory: true, message }).await.unwrap();
    }
    let serving = serve(&setup).await;
    let callbacks = drain(&app, "elsewhere", 2).await;
    serving.settled("celery").await;
    let ids = callbacks.into_iter().map(|callback| TaskMessage::decode(callback.message).unwrap().id);
    let [one, other] = ids.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(one, other);
    serving.stop().await;
}

async fn a_step_that_no_queue_takes_fails_what_waits_for_it(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let lost = task("add", [1]).with("exchange", "no.such.exchange").with("routing_key", "nowhere");
    let published = serving.app.publish(ids.name("before", task("add", [1])) | lost | task("add", [1])).await.unwrap();
    let error = published.get::<i64>(SOON).await.unwrap_err();
    assert!(matches!(error, GetError::Failed(_)), "{error}");
    let before = serving.meta_when(&ids.of("before"), ended).await;
    assert_eq!(before.state, State::Failure);
    serving.stop().await;
}

async fn a_group_that_is_saved_can_be_restored_and_forgotten(setup: Setup) {
    let serving = serve(&setup).await;
    let group = Canvas::group([task("add", [1]), task("add", [2])]);
    let Published::Group(group) = serving.app.publish(group).await.unwrap() else { panic!("a group") };
    group.save().await.unwrap();
    let restored = serving.app.restore_group(group.id()).await.unwrap().expect("it was saved");
    assert_eq!(restored.get::<i64>(SOON).await.unwrap(), [1, 2]);
    assert_eq!(restored.completed_count().await.unwrap(), 2);
    restored.forget().await.unwrap();
    assert!(serving.app.restore_group(group.id()).await.unwrap().is_none());
    assert_eq!(group.completed_count().await.unwrap(), 0);
    serving.stop().await;
}

async fn accumulate_answers_all_of_its_arguments_or_one(setup: Setup) {
    let serving = serve(&setup).await;
    let accumulate = || Signature::new("celery.accumulate").arg(Json::Int(7)).arg(Json::Int(8));
    assert_eq!(value(&serving, accumulate()).await, json!([7, 8]));
    assert_eq!(value(&serving, accumulate().kwarg("index", Json::Int(1))).await, json!(8));
    assert_eq!(value(&serving, accumulate().kwarg("index", Json::Int(-2))).await, json!(7));
    assert!(serving.handle.registered().iter().all(|name| !name.starts_with("celery.")));
    serving.stop().await;
}

on_every_broker!(
    what_nothing_can_be_replaced_with_fails_the_task,
    each_kind_of_workflow_gives_its_result,
    what_follows_a_task_is_its_child_and_callbacks_get_the_result,
    a_workflow_begun_by_a_task_belongs_to_that_task,
    a_failure_ends_the_chain_and_sends_the_errbacks,
    a_task_that_runs_twice_sends_the_same_callback_again,
    a_step_that_no_queue_takes_fails_what_waits_for_it,
    a_group_that_is_saved_can_be_restored_and_forgotten,
    accumulate_answers_all_of_its_arguments_or_one,
);
