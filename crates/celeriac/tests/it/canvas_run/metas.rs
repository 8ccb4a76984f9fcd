//! What is stored of each step of a workflow: the same by a worker of ours and by one of Celery's.

use std::collections::HashMap;

use celeriac::App;
use celeriac::canvas::{Canvas, Signature};
use celeriac::protocol::{ResultMeta, ResultTuple};
use serde_json::{Value, json};

use super::python::{python_worker, stop};
use super::tasks::{Ids, serve_queue, task};
use crate::worker::setup::{SOON, Setup};

/// A workflow and the names of its tasks.
struct Flow {
    what: &'static str,
    canvas: Canvas,
    /// Those behind a `!` are never told that they have failed.
    steps: &'static [&'static str],
}

/// Workflows of each kind, whole and broken at each place. All tasks go to one queue.
fn flows(ids: &Ids, queue: &str) -> Vec<Flow> {
    let at = |name: &str, task: Signature| ids.name(name, task.with("queue", queue));
    let add = |name: &str| at(name, task("add", [1]));
    let fail = |name: &str| at(name, task("fail", []));
    let sum = |name: &str| at(name, task("tsum", []));
    let flow = |what, canvas, steps| Flow { what, canvas, steps };
    vec![
        flow("chain", add("a") | add("b") | add("c"), &["a", "b", "c"]),
        flow("chain broken at the first step", fail("a") | add("b") | add("c"), &["a", "b", "c"]),
        flow("chain broken in the middle", add("a") | fail("b") | add("c"), &["a", "b", "c"]),
        flow("chain broken at the last step", add("a") | add("b") | fail("c"), &["a", "b", "c"]),
        flow("group", Canvas::group([add("a"), fail("b"), add("c")]), &["a", "b", "c"]),
        flow("chain into a group", add("a") | Canvas::group([add("b"), add("c")]), &["a", "b", "c"]),
        flow("chord", Canvas::chord([add("a"), add("b")], sum("C")) | add("d"), &["a", "b", "C", "d"]),
        flow("chord with a broken header", Canvas::chord([add("a"), fail("b")], sum("C")), &["a", "b", "C"]),
        // Of a body that is a chain the last task fails alone.
        flow(
            "chord with a broken header, in a chain",
            Canvas::chord([add("a"), fail("b")], sum("C")) | add("d"),
            &["a", "b", "!C", "d"],
        ),
        flow(
            "chord with a broken body",
            Canvas::chord([add("a"), add("b")], fail("C")) | add("d"),
            &["a", "b", "C", "d"],
        ),
        flow(
            "chord whose body is a group",
            Canvas::chord([add("a"), fail("b")], Canvas::group([sum("C"), sum("D")])),
            &["a", "b", "C", "D"],
        ),
        flow(
            "chord of chains, one of which breaks",
            Canvas::chord([add("a") | add("b"), fail("c") | add("d")], sum("E")),
            &["a", "b", "c", "d", "E"],
        ),
        flow(
            "chord of chords",
            Canvas::chord([Canvas::chord([add("a"), add("b")], sum("C")), add("d").into()], sum("E")),
            &["a", "b", "C", "d", "E"],
        ),
        flow(
            "chain, chord, chain",
            add("a") | Canvas::group([add("b") | add("c"), add("d").into()]) | sum("E") | add("f") | add("g"),
            &["a", "b", "c", "d", "E", "f", "g"],
        ),
        flow(
            "chord in a chord in a chord, broken at the bottom",
            Canvas::chord(
                [
                    Canvas::chord([Canvas::chord([add("a"), fail("b")], sum("C")), add("d").into()], sum("E")),
                    add("f") | add("g"),
                ],
                sum("H"),
            ),
            // Celery leaves the chords around the broken one waiting for ever.
            &["a", "b", "C", "d", "f", "g"],
        ),
        flow(
            "chords one after the other, the second broken",
            add("a")
                | Canvas::group([add("b"), add("c")])
                | sum("D")
                | Canvas::group([add("e"), fail("f")])
                | sum("G")
                | add("h"),
            &["a", "b", "c", "D", "e", "f", "G", "h"],
        ),
        flow(
            "group of chords and chains",
            Canvas::group([
                Canvas::chord([add("a") | add("b"), add("c").into()], sum("D") | add("e")),
                add("f") | Canvas::group([add("g"), add("h")]),
            ]),
            &["a", "b", "c", "D", "e", "f", "g", "h"],
        ),
        flow("callback", Canvas::from(add("a")).link(add("b")) | add("c"), &["a", "b", "c"]),
        flow("errback", Canvas::from(fail("a")).link_error(at("b", task("tell", []))) | add("c"), &["a", "b", "c"]),
        flow(
            "stamped",
            (Canvas::from(add("a")).link(add("b")) | Canvas::group([add("c"), add("d")])).stamp("order", "7"),
            &["a", "b", "c", "d"],
        ),
    ]
}

async fn metas(app: &App, queue: &str) -> Vec<(String, Value)> {
    let mut metas = Vec::new();
    // One after the other, so that a failure names its workflow.
    for number in 0..flows(&Ids::new(), queue).len() {
        let ids = Ids::new();
        let Flow { what, canvas, steps } = flows(&ids, queue).swap_remove(number);
        app.publish(canvas).await.expect(what);
        let (never, steps): (Vec<&str>, Vec<&str>) = steps.iter().partition(|name| name.starts_with('!'));
        for name in &steps {
            ready(app, &ids.of(name)).await.unwrap_or_else(|| panic!("{what}: {name} has not ended"));
        }
        for name in &steps {
            let meta = app.result::<()>(ids.of(name)).meta().await.unwrap().expect("it has ended");
            metas.push((format!("{what}: {name}"), plain(name, &meta, &steps, &ids)));
        }
        for name in never {
            let meta = app.result::<()>(ids.of(&name[1..])).meta().await.unwrap();
            metas.push((format!("{what}: {name}"), json!(meta.map(|meta| meta.to_json()))));
        }
    }
    metas
}

async fn ready(app: &App, id: &str) -> Option<()> {
    let mut watch = app.result::<()>(id).watch().await.unwrap();
    let ended = async { while !watch.changed().await.unwrap().state.is_ready() {} };
    tokio::time::timeout(SOON, ended).await.ok()
}

/// The bodies of chords have names in capitals.
fn is_body(name: &str) -> bool {
    name.chars().all(char::is_uppercase)
}

/// What two runs have in common: names instead of ids, nothing of times and tracebacks.
fn plain(name: &str, meta: &ResultMeta, steps: &[&str], ids: &Ids) -> Value {
    let names: HashMap<String, &str> = steps.iter().map(|name| (ids.of(name), *name)).collect();
    let named = |id: &str| names.get(id).map_or("another", |name| name).to_owned();
    let mut children: Vec<_> = meta.children.iter().flatten().map(|child| tuple(child, &named)).collect();
    children.sort_by_key(Value::to_string);
    let mut result = meta.result.as_str().to_owned();
    names.iter().for_each(|(id, name)| result = result.replace(id, name));
    json!({
        "state": meta.state.as_str(),
        "result": serde_json::from_str::<Value>(&result).unwrap(),
        "children": children,
        "date_done": meta.date_done.is_some(),
        "group_id": meta.group_id.is_some(),
        // That of a body is the task of the header that ended last.
        "parent_id": meta.parent_id.as_deref().map(|id| if is_body(name) { "one of the header".to_owned() } else { named(id) }),
    })
}

fn tuple(result: &ResultTuple, named: &impl Fn(&str) -> String) -> Value {
    let members = result.children.as_ref().map(|children| children.iter().map(|child| tuple(child, named)).collect());
    json!([named(&result.id), members.map_or(Value::Null, Value::Array)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_of_a_workflow_is_stored_as_celery_stores_it() {
    let setup = Setup::classic().await;
    let worker = python_worker(&setup, "python").await;
    let theirs = metas(&setup.app().await, "python").await;
    stop(worker).await;
    let serving = serve_queue(setup.app().await, "rust");
    let ours = metas(&serving.app, "rust").await;
    serving.stop().await;
    let differing = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs);
    let differing: Vec<_> =
        differing.map(|((step, ours), (_, theirs))| format!("{step}\n  ours   {ours}\n  theirs {theirs}")).collect();
    assert!(differing.is_empty(), "{} of {} differ:\n{}", differing.len(), ours.len(), differing.join("\n"));
}
