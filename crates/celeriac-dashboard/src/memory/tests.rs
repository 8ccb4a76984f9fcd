//! The bounds of memory, and the list.

use celeriac::protocol::event::{Event, EventBody, TaskReceived, WorkerStatus};
use proptest::prelude::*;

use super::*;

const START: f64 = 1_000_000.0;

fn event(hostname: &str, clock: u64, body: EventBody<'static>) -> Event<'static> {
    let hostname = hostname.to_owned().into();
    Event { hostname, utcoffset: 0.0, pid: 7, clock: Some(clock), timestamp: START + clock as f64, body }
}

fn received(uuid: &str, args: &str) -> EventBody<'static> {
    let (uuid, args) = (uuid.to_owned().into(), args.to_owned().into());
    EventBody::TaskReceived(Box::new(TaskReceived { uuid, args, name: "shop.greet".into(), ..TaskReceived::default() }))
}

fn started(uuid: &str) -> EventBody<'static> {
    EventBody::TaskStarted { uuid: uuid.to_owned().into() }
}

fn succeeded(uuid: &str, runtime: f64) -> EventBody<'static> {
    EventBody::TaskSucceeded { uuid: uuid.to_owned().into(), result: "3".into(), runtime }
}

fn status(freq: f64) -> WorkerStatus<'static> {
    let (active, processed) = (Some(1), Some(2));
    let (sw_ident, sw_ver, sw_sys) = ("celeriac".into(), "0.1".into(), "Linux".into());
    WorkerStatus { freq, active, processed, loadavg: None, sw_ident, sw_ver, sw_sys }
}

fn ids(page: &Page) -> Vec<&str> {
    page.rows.iter().map(|kept| kept.task.uuid.as_str()).collect()
}

fn picture(tasks: usize, bytes: usize) -> Picture {
    Picture::new(Bounds { tasks, bytes }, START)
}

/// Pitfall: a list at its limit freezes. One more pushes out the one heard of first, also across a restart of its worker.
#[test]
fn one_task_too_many_pushes_out_the_one_that_was_heard_of_first() {
    let mut picture = picture(3, usize::MAX);
    for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
        picture.hear(event("w", number as u64, received(id, "()")), START + number as f64);
    }
    assert_eq!(ids(&picture.tasks.page(&Filter::default(), &Direction::Top, 10)), ["c", "b", "a"]);
    picture.hear(event("w", 4, EventBody::WorkerOffline(status(2.0))), START + 4.0);
    picture.hear(event("w", 1, EventBody::WorkerOnline(status(2.0))), START + 5.0);
    picture.hear(event("w", 2, received("d", "()")), START + 6.0);
    assert_eq!(ids(&picture.tasks.page(&Filter::default(), &Direction::Top, 10)), ["d", "c", "b"]);
    assert_eq!((picture.tasks.len(), picture.tasks.forgotten), (3, 1));
}

/// Pitfall: memory by large arguments.
#[test]
fn long_texts_are_cut_at_the_door_and_told_with_their_true_length() {
    let mut picture = picture(10, usize::MAX);
    picture.hear(event("w", 1, received("a", &"ü".repeat(8_000))), START);
    let kept = picture.tasks.get("a").unwrap();
    assert_eq!(kept.task.args.as_ref().map(String::len), Some(1024));
    assert_eq!(kept.cuts, [(Text::Args, 8_000)]);
    assert!(picture.tasks.bytes() < 4_000, "{}", picture.tasks.bytes());
}

#[test]
fn the_texts_of_all_tasks_together_have_a_bound() {
    let mut picture = picture(1_000_000, 100_000);
    for number in 0..500_u32 {
        picture.hear(event("w", number.into(), received(&number.to_string(), &"x".repeat(900))), START);
        assert!(picture.tasks.bytes() <= 100_000);
    }
    assert!(picture.tasks.len() > 20 && picture.tasks.get("499").is_some() && picture.tasks.get("0").is_none());
    assert_eq!(picture.tasks.len() as u64 + picture.tasks.forgotten, 500);
}

#[test]
fn a_task_that_is_told_of_without_end_stays_small() {
    let mut picture = picture(10, usize::MAX);
    for clock in 0..10_000 {
        picture.hear(event("w", clock, started("a")), START);
    }
    let kept = picture.tasks.get("a").unwrap();
    assert_eq!((kept.steps.len(), kept.left_out), (200, 9_800));
}

/// Pitfall: offline workers leave at once, or never.
#[test]
fn a_silent_worker_is_late_then_gone_then_folded_and_never_forgotten() {
    let mut picture = picture(10, usize::MAX);
    picture.hear(event("w", 1, EventBody::WorkerHeartbeat(status(2.0))), START);
    picture.hear(event("v", 1, EventBody::WorkerHeartbeat(status(2.0))), START);
    picture.hear(event("v", 2, EventBody::WorkerOffline(status(2.0))), START + 1.0);
    let presence = |after: f64| picture.workers.get("w").unwrap().presence(START + after);
    assert_eq!(presence(6.0), Presence::Here);
    assert_eq!(presence(6.1), Presence::Late(START));
    assert_eq!(presence(600.0), Presence::Late(START));
    assert_eq!(presence(601.0), Presence::Vanished(START));
    assert!(!presence(86_000.0).is_folded(START + 86_000.0));
    assert!(presence(86_401.0).is_folded(START + 86_401.0));
    assert_eq!(picture.workers.get("v").unwrap().presence(START + 2.0), Presence::Stopped(START + 1.0));
}

/// Pitfall: figures of workers that are gone are kept for ever. The one that has been gone the longest makes room.
#[test]
fn names_of_workers_are_bounded_and_who_is_there_stays() {
    let mut picture = picture(10, usize::MAX);
    picture.hear(event("here", 1, EventBody::WorkerHeartbeat(status(1e9))), START);
    for number in 0..2_500_u32 {
        let at = START + 1.0 + f64::from(number);
        picture.hear(event(&format!("w{number}"), 1, EventBody::WorkerOffline(status(2.0))), at);
    }
    assert_eq!(picture.workers.all().len(), 2_000);
    assert!(picture.workers.get("here").is_some() && picture.workers.get("w2499").is_some());
    assert!(picture.workers.get("w0").is_none() && picture.workers.get("w500").is_none());
}

/// Pitfall: rows without data, because the first event was missed. What is heard later fills them.
#[test]
fn a_task_that_is_heard_of_from_its_middle_on_is_filled_by_what_comes_late() {
    let mut picture = picture(10, usize::MAX);
    picture.hear(event("w", 2, started("a")), START);
    let name = |picture: &Picture| picture.tasks.get("a").unwrap().task.name.clone();
    assert_eq!(name(&picture), None);
    picture.hear(event("w", 3, succeeded("a", 0.1)), START);
    picture.hear(event("w", 1, received("a", "('Ada',)")), START);
    let task = &picture.tasks.get("a").unwrap().task;
    assert_eq!((task.name.as_deref(), task.state.to_string().as_str()), (Some("shop.greet"), "SUCCESS"));
    assert_eq!(task.args.as_deref(), Some("('Ada',)"));
}

/// Pitfall: the page of a workflow dies of its many tasks.
#[test]
fn a_workflow_of_thousands_is_shown_up_to_a_limit_and_counted() {
    let mut picture = picture(10_000, usize::MAX);
    for number in 0..5_000_u32 {
        let EventBody::TaskReceived(mut received) = received(&number.to_string(), "()") else { unreachable!() };
        received.root_id = Some("0".into());
        picture.hear(event("w", number.into(), EventBody::TaskReceived(received)), START);
    }
    let (shown, count) = picture.tasks.of_workflow("0", 200);
    assert_eq!((shown.len(), count), (200, 5_000));
}

#[test]
fn what_was_counted_before_a_restart_goes_on_and_is_not_counted_twice() {
    let mut before = picture(10, usize::MAX);
    before.hear(event("w", 1, received("a", "()")), START);
    before.hear(event("w", 2, succeeded("a", 0.1)), START);
    let known: Vec<Known> = before.workers.all().into_iter().cloned().collect();
    let mut after = Picture::new(Bounds::default(), START + 60.0);
    after.hear(event("w", 3, received("b", "()")), START + 61.0);
    for _ in 0..2 {
        // Once more when the connection to the history was made anew.
        after.remembers(Vec::new(), known.clone(), Vec::new());
    }
    let worker = after.workers.get("w").unwrap();
    assert_eq!((worker.more.received, worker.succeeded, worker.first_heard), (2, 1, START));
}

#[test]
fn percentiles_are_right_within_five_percent() {
    let mut picture = picture(10_000, usize::MAX);
    for number in 1..=1000_u32 {
        picture.hear(event("w", number.into(), succeeded(&number.to_string(), f64::from(number) / 1000.0)), START);
    }
    let ran = picture.minutes.ran(START).unwrap();
    for (told, truth) in [(ran.p50, 0.5), (ran.p95, 0.95), (ran.p99, 0.99)] {
        assert!((told / truth - 1.0).abs() < 0.05, "{told} for {truth}");
    }
    assert_eq!(picture.minutes.ran(START + 3_600.0), None, "the last hour only");
}

#[test]
fn a_task_waits_from_its_sending_or_from_its_eta_and_never_less_than_nothing() {
    let mut picture = picture(10, usize::MAX);
    let waited = |picture: &Picture, id: &str| picture.tasks.get(id).unwrap().waited();
    picture.hear(event("w", 1, received("a", "()")), START);
    picture.hear(event("w", 3, started("a")), START);
    assert_eq!(waited(&picture, "a"), Some(2.0));
    let EventBody::TaskReceived(mut later) = received("b", "()") else { unreachable!() };
    // 1,000,002 s after the beginning of 1970.
    later.eta = Some("1970-01-12T13:46:42+00:00".into());
    picture.hear(event("w", 1, EventBody::TaskReceived(later)), START);
    picture.hear(event("w", 3, started("b")), START);
    assert_eq!(waited(&picture, "b"), Some(1.0));
    picture.hear(event("w", 9, received("c", "()")), START);
    picture.hear(event("v", 3, started("c")), START);
    assert_eq!(waited(&picture, "c"), Some(0.0), "clocks differ");
}

#[test]
fn what_overtakes_is_put_in_its_place_in_the_story() {
    let mut picture = picture(10, usize::MAX);
    for (clock, body) in [(3, succeeded("a", 0.5)), (1, received("a", "()")), (2, started("a"))] {
        picture.hear(event("w", clock, body), START);
    }
    let what: Vec<_> = picture.tasks.get("a").unwrap().steps.iter().map(|step| step.what.as_str()).collect();
    assert_eq!(what, ["received", "started", "succeeded"]);
}

#[test]
fn a_retry_that_is_told_late_does_not_undo_the_end() {
    let mut picture = picture(10, usize::MAX);
    let retried = EventBody::TaskRetried { uuid: "a".into(), exception: "E()".into(), traceback: None };
    for (clock, body) in [(1, received("a", "()")), (3, succeeded("a", 0.5)), (4, retried)] {
        picture.hear(event("w", clock, body), START);
    }
    let task = &picture.tasks.get("a").unwrap().task;
    assert_eq!((task.state.to_string().as_str(), task.retried), ("SUCCESS", Some(START + 4.0)));
}

#[test]
fn conditions_combine() {
    let mut picture = picture(10, usize::MAX);
    picture.hear(event("w", 1, received("a", "('Ada',)")), START);
    picture.hear(event("v", 1, received("b", "('Bob',)")), START + 1.0);
    picture.hear(event("v", 2, succeeded("b", 0.1)), START + 1.0);
    let found = |filter: Filter| {
        picture.tasks.page(&filter, &Direction::Top, 10).rows.iter().map(|k| k.task.uuid.clone()).collect::<String>()
    };
    let text = |text: &str| text.to_owned();
    let none = Filter::default;
    assert_eq!(found(none()), "ba");
    assert_eq!(found(Filter { name: text("shop."), ..none() }), "ba");
    assert_eq!(found(Filter { name: text("greet"), ..none() }), "", "how a name begins");
    assert_eq!(found(Filter { state: text("SUCCESS"), ..none() }), "b");
    assert_eq!(found(Filter { worker: text("w"), ..none() }), "a");
    assert_eq!(found(Filter { text: text("ada"), ..none() }), "a");
    assert_eq!(found(Filter { text: text("ada"), state: text("SUCCESS"), ..none() }), "");
    assert_eq!(found(Filter { from: Some(START + 0.5), ..none() }), "b");
    assert_eq!(found(Filter { to: Some(START + 0.5), ..none() }), "a");
    assert_eq!(found(Filter { id: text("b"), ..none() }), "b");
    let failed = |exception: &str| {
        let exception = exception.to_owned().into();
        EventBody::TaskFailed { uuid: "a".into(), exception, traceback: None }
    };
    picture.hear(event("w", 3, failed("Declined('no')")), START + 2.0);
    let found = |error: &str| {
        let filter = Filter { error: text(error), ..none() };
        picture.tasks.page(&filter, &Direction::Top, 10).rows.len()
    };
    assert_eq!((found("Declined"), found("Decline"), found("no")), (1, 0, 0), "the class of the error, whole");
}

#[test]
fn where_nothing_could_be_heard_is_told() {
    let mut picture = picture(10, usize::MAX);
    for (at, connected) in [(0.0, true), (1.0, false), (2.0, false), (3.0, true), (4.0, true), (5.0, false)] {
        picture.is_connected(connected, START + at);
    }
    assert_eq!(picture.gaps, [(START + 1.0, Some(START + 3.0)), (START + 5.0, None)]);
}

proptest! {
    /// Pitfall: keyset paging drops rows of the same moment. Both ways, page by page, each task is seen once, in one order,
    /// whatever the sizes of pages and however many were heard of at once.
    #[test]
    fn paging_both_ways_shows_each_task_once(at in prop::collection::vec(0_u8..4, 0..40), limit in 1_usize..8) {
        let mut picture = picture(1_000, usize::MAX);
        for (number, at) in at.iter().enumerate() {
            picture.hear(event("w", 1, received(&format!("{number:02}"), "()")), START + f64::from(*at));
        }
        let all = picture.tasks.page(&Filter::default(), &Direction::Top, 1_000);
        let mut down = Vec::new();
        let mut page = picture.tasks.page(&Filter::default(), &Direction::Top, limit);
        let mut last = page.rows.last().map(|kept| kept.key.clone());
        while let Some(key) = last {
            down.extend(page.rows.iter().map(|kept| kept.task.uuid.clone()));
            // As it goes through an address.
            let Cursor(key) = Cursor(key).to_string().parse().unwrap();
            page = picture.tasks.page(&Filter::default(), &Direction::From(key, Toward::Older), limit);
            last = page.rows.last().map(|kept| kept.key.clone());
        }
        prop_assert_eq!(&down, &ids(&all));
        let mut up = Vec::new();
        let mut first = all.rows.last().map(|kept| kept.key.clone());
        while let Some(key) = first {
            let page = picture.tasks.page(&Filter::default(), &Direction::From(key, Toward::Newer), limit);
            up.extend(page.rows.iter().rev().map(|kept| kept.task.uuid.clone()));
            first = page.rows.first().map(|kept| kept.key.clone());
        }
        up.reverse();
        prop_assert_eq!(&up[..], &ids(&all)[..ids(&all).len().saturating_sub(1)]);
    }
}
