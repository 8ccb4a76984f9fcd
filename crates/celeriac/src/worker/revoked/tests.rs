use super::*;
use crate::protocol::{Headers, RawJson};

const SECOND: Duration = Duration::from_secs(1);

fn stamped(stamps: &[(&str, Value)]) -> TaskMessage {
    let mut task = TaskMessage::new("t", "id", RawJson::EMPTY_LIST, RawJson::EMPTY_OBJECT);
    task.stamped_headers = Some(stamps.iter().map(|(name, _)| (*name).to_owned()).collect());
    task.stamps = stamps.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Headers>();
    task
}

fn revoked(max: usize) -> Revoked {
    Revoked::new(RevokeLimits { max, ..RevokeLimits::default() })
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn add(revoked: &mut Revoked, ids: &[String], now: Instant) -> Remembered {
    revoked.add(ids.iter().map(String::as_str), now)
}

fn ids(revoked: &Revoked, now: Instant) -> Vec<String> {
    revoked.ages(now).map(|(id, _)| id.to_owned()).collect()
}

#[test]
fn a_task_is_revoked_by_any_value_of_any_of_its_stamps() {
    let mut revoked = RevokedStamps::new(RevokeLimits::default());
    assert!(!revoked.contains(&stamped(&[("tenant", "t-1".into())])));
    revoked.add("tenant", &["t-1".into(), Value::Int(7)]);
    for (task, expected) in [
        (stamped(&[("tenant", "t-1".into())]), true),
        (stamped(&[("tenant", Value::Int(7))]), true),
        (stamped(&[("tenant", "7".into())]), false),
        (stamped(&[("tenant", "t-2".into())]), false),
        (stamped(&[("other", "t-1".into())]), false),
        (stamped(&[("tenant", vec!["t-2", "t-1"].into()), ("other", "x".into())]), true),
        (stamped(&[]), false),
    ] {
        assert_eq!(revoked.contains(&task), expected, "{:?}", task.stamps);
    }
    let unnamed = TaskMessage { stamped_headers: None, ..stamped(&[("tenant", "t-1".into())]) };
    assert!(!revoked.contains(&unnamed));
}

#[test]
fn stamps_that_are_too_many_are_refused_and_counted() {
    let mut revoked = RevokedStamps::new(RevokeLimits { max: 3, ..RevokeLimits::default() });
    let values: Vec<Value> = ["a", "b", "a"].map(Value::from).into();
    assert_eq!(revoked.add("one", &values), Remembered { new: 3, ..Remembered::default() });
    let values: Vec<Value> = ["c", "d", "e"].map(Value::from).into();
    assert_eq!(revoked.add("two", &values), Remembered { new: 1, refused: 2, forgotten: 0 });
    assert!(revoked.contains(&stamped(&[("one", "a".into())])) && !revoked.contains(&stamped(&[("two", "d".into())])));
    assert_eq!(revoked.add("one", &["a".into()]).refused, 0, "it is known already");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_forgotten_after_its_time() {
    let (mut revoked, start) = (revoked(10), Instant::now());
    let expires = RevokeLimits::default().expires;
    revoked.add(["a"], start);
    assert!(revoked.contains("a", start + expires - SECOND));
    assert!(!revoked.contains("a", start + expires));
    revoked.add(["b"], start + expires);
    assert_eq!(ids(&revoked, start + expires), ["b"]);
    assert_eq!(revoked.order.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_are_forgotten_above_the_limit_and_revoking_again_makes_young() {
    let (mut revoked, now) = (revoked(3), Instant::now());
    revoked.add(["first", "second"], now);
    revoked.add(["first"], now);
    let remembered = revoked.add(["third", "fourth"], now);
    assert_eq!(remembered, Remembered { new: 2, refused: 0, forgotten: 1 });
    assert_eq!(ids(&revoked, now), ["first", "third", "fourth"]);
}

#[tokio::test(start_paused = true)]
async fn all_ids_of_a_large_command_are_remembered_up_to_the_limit_and_the_rest_is_counted() {
    let now = Instant::now();
    let mut remembered = revoked(50_000);
    assert_eq!(add(&mut remembered, &numbers(0..12_000), now).new, 12_000);
    assert!(remembered.contains("11999", now));
    let many = add(&mut remembered, &numbers(100_000..220_000), now);
    assert_eq!(many, Remembered { new: 50_000, refused: 70_000, forgotten: 12_000 });
    assert!(remembered.contains("149999", now) && !remembered.contains("150000", now));
}

#[tokio::test(start_paused = true)]
async fn what_was_told_twice_or_known_before_takes_no_place_of_others() {
    let (mut revoked, now) = (revoked(4), Instant::now());
    add(&mut revoked, &numbers(0..4), now);
    let remembered = revoked.add(["1", "0", "1", "0", "3"], now);
    assert_eq!(remembered, Remembered { new: 3, refused: 0, forgotten: 0 });
    assert_eq!(ids(&revoked, now), ["2", "1", "0", "3"]);
    assert_eq!(revoked.add([&*"x".repeat(256)], now).refused, 1, "no task has such an id");
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_knew_before_it_was_started_again_keeps_its_age() {
    let (mut revoked, now) = (revoked(2), Instant::now() + 100 * SECOND);
    for (id, age) in [("a", 30), ("b", 20), ("c", 10)] {
        revoked.recall(id, now - age * SECOND, now);
    }
    assert_eq!(revoked.ages(now).collect::<Vec<_>>(), [("b", 20 * SECOND), ("c", 10 * SECOND)]);
}
