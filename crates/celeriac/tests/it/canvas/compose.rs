//! What `|` and the constructors make: the same signatures as Python's.

use celeriac::canvas::{Canvas, Signature};
use serde_json::Value as JsonValue;

use crate::protocol::fixtures::all;

fn add(x: i32, y: i32) -> Canvas {
    Signature::new("proj.add").arg(x).arg(y).into()
}

fn plus(x: i32) -> Canvas {
    Signature::new("proj.add").arg(x).into()
}

fn mul(x: i32) -> Canvas {
    Signature::new("proj.mul").arg(x).into()
}

fn s(name: &str) -> Canvas {
    Signature::new(format!("proj.{name}")).into()
}

/// The workflow that Python built under that name.
fn check(name: &str, ours: &Canvas) {
    let fixture = all("canvas").into_iter().find(|fixture| fixture.name == format!("canvas/{name}.json")).unwrap();
    let mut text = Vec::new();
    ours.to_json().write(&mut text);
    assert_eq!(serde_json::from_slice::<JsonValue>(&text).unwrap(), fixture.json["canvas"], "{name}");
}

#[test]
fn chains_are_flat() {
    check("chain2", &(add(1, 2) | mul(10)));
    check("chain3", &Canvas::chain([add(1, 2), mul(10), s("ident")]));
    check("chain_of_chains", &Canvas::chain([add(1, 2) | mul(3), mul(4) | s("ident")]));
    check("chain_into_group", &Canvas::chain([add(1, 1), Canvas::group([plus(2), plus(3)])]));
    check("chain_group_one", &Canvas::chain([add(1, 1), Canvas::group([plus(2)]), mul(3)]));
    check("chain_empty_group", &Canvas::chain([add(1, 1), Canvas::group([] as [Canvas; 0]), mul(3)]));
}

#[test]
fn a_group_that_something_follows_is_a_chord() {
    let pair = || Canvas::group([plus(2), plus(3)]);
    check("group_then_task", &(Canvas::group([add(1, 1), add(2, 2)]) | s("tsum")));
    check("group_then_task_then_task", &(Canvas::group([add(1, 1), add(2, 2)]) | s("tsum") | mul(3)));
    check("chain_group_chain", &Canvas::chain([add(1, 1), pair(), s("tsum")]));
    check("chain_group_chain_long", &Canvas::chain([add(1, 1), pair(), s("tsum"), mul(2), s("ident")]));
    check("chain_t_g_t_g_t", &Canvas::chain([add(1, 1), pair(), s("tsum"), pair(), s("tsum")]));
    let sums = || Canvas::group([s("tsum"), s("tsum")]);
    check("chain_t_g_g_t", &Canvas::chain([add(1, 1), pair(), sums(), s("tsum")]));
    let first = || Canvas::group([add(1, 1), add(2, 2)]);
    check("chain_group_group", &Canvas::chain([first(), Canvas::group([s("tsum"), s("ident")])]));
    check("chain_group_group_task", &Canvas::chain([first(), sums(), s("tsum")]));
}

#[test]
fn what_follows_a_chord_goes_into_its_body() {
    let chord = || Canvas::chord([plus(2), plus(3)], s("tsum"));
    check("chain_chord_in_middle", &Canvas::chain([add(1, 1), chord(), mul(4)]));
    check("chain_chord_end", &Canvas::chain([add(1, 1), chord()]));
    check("chord_body_chain", &Canvas::chord([add(1, 1), add(2, 2)], s("tsum") | mul(2)));
    check("chord_in_chord", &Canvas::chord([Canvas::chord([add(1, 1), add(2, 2)], s("tsum")), add(3, 3)], s("tsum")));
}

#[test]
fn callbacks_stand_where_celery_puts_them() {
    check("link", &add(1, 1).link(s("cb")));
    check("link_group", &add(1, 1).link(Canvas::group([s("cb"), s("ident")])));
    check("link_group_and_task", &add(1, 1).link(Canvas::group([s("cb"), s("ident")])).link(s("ident")));
    check("link_error", &add(1, 1).link_error(s("on_error")));
    check("chain_link", &(add(1, 2) | mul(10)).link(s("cb")));
    check("chain_link_error", &Canvas::chain([add(1, 2), mul(10), s("ident")]).link_error(s("on_error")));
    let chord = || Canvas::chord([add(1, 1), add(2, 2)], s("tsum"));
    check("chord_link", &chord().link(s("cb")));
    check("chord_link_error", &chord().link_error(s("on_error")));
}

#[test]
fn stamps_mark_every_task() {
    check("stamp", &add(1, 1).stamp("tenant", "t-1"));
    check("stamp_link", &add(1, 1).link(s("cb")).stamp("tenant", "t-1"));
    check("stamp_chain", &(add(1, 1) | mul(2)).stamp("tenant", "t-1"));
}

#[test]
fn mappings_are_one_task() {
    let add = Signature::new("proj.add");
    check("starmap", &Canvas::starmap(&add, [(1, 2), (3, 4)]).unwrap());
    check("map", &Canvas::map(&Signature::new("proj.ident"), [1, 2, 3]).unwrap());
    let chunks = Canvas::chunks(&add, [(1, 2), (3, 4), (5, 6)], 2).unwrap();
    let parts =
        Canvas::group([Canvas::starmap(&add, [(1, 2), (3, 4)]).unwrap(), Canvas::starmap(&add, [(5, 6)]).unwrap()]);
    assert_eq!(chunks, parts);
}

#[test]
fn options_and_typed_tasks_become_signatures() {
    let task =
        Signature::new("proj.add").arg(1).arg(2).with("queue", "payments").with("priority", 3).with("countdown", 10);
    let task = task.with("expires", 60).with("time_limit", 30).with("soft_time_limit", 20.5);
    check("task_options", &task.with("shadow", "shown").with("ignore_result", true).into());

    #[derive(celeriac::Task, serde::Serialize, serde::Deserialize)]
    #[task(name = "billing.charge")]
    struct Charge {
        account: u64,
    }
    let signature = Signature::of(&Charge { account: 7 }).unwrap();
    assert_eq!(signature, Signature::new("billing.charge").kwarg("account", 7));
}
