//! The rules of limits, for every backend that keeps them.

use std::sync::Arc;
use std::time::Duration;

use celeriac::backend::{Grant, HeldSeat, ResultBackend, Seat};
use tokio::time::timeout;

use super::{SOON, Setup, id, next};

macro_rules! on_every_backend {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(super::Setup::memory()).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(super::Setup::redis().await).await; })*
        }
    };
}

on_every_backend!(
    seats_are_given_in_the_order_of_asking_and_asking_again_changes_nothing,
    whoever_lost_its_lease_can_neither_renew_it_nor_free_the_seat_of_another,
    a_seat_that_is_freed_is_told_to_who_waits,
    a_place_in_the_line_that_nobody_asks_for_is_lost,
    a_seat_that_is_held_outlives_its_lease_and_is_free_when_it_is_dropped,
    starts_are_reserved_one_interval_apart_by_whoever_asks,
    starts_that_are_given_back_leave_neither_debt_nor_burst,
);

const LEASE: Duration = Duration::from_secs(60);
/// Long enough to be held for a moment, short enough to wait for its end.
const SHORT: Duration = Duration::from_millis(300);

fn seat(key: &str, token: &str, lease: Duration) -> Seat {
    Seat { key: key.to_owned(), token: token.to_owned(), limit: 1, lease }
}

async fn claim(backend: &Arc<dyn ResultBackend>, seat: &Seat) -> Option<u64> {
    match backend.limits().unwrap().claim(seat).await.unwrap() {
        Grant::Seated { fence } => Some(fence),
        Grant::Wait { at_most } => {
            assert!(!at_most.is_zero() && at_most <= LEASE, "{at_most:?}");
            None
        }
    }
}

async fn seats_are_given_in_the_order_of_asking_and_asking_again_changes_nothing(setup: Setup) {
    let (ours, theirs, key) = (setup.open().await, setup.open().await, id());
    let [a, b, c] = ["a", "b", "c"].map(|token| seat(&key, token, LEASE));
    let first = claim(&ours, &a).await.expect("nobody sits there");
    assert!(claim(&ours, &a).await.is_some(), "the answer may have been lost");
    assert_eq!(claim(&theirs, &b).await, None);
    assert_eq!(claim(&ours, &c).await, None);
    assert_eq!(claim(&theirs, &b).await, None);
    assert!(claim(&ours, &seat(&id(), "other key", LEASE)).await.is_some());
    ours.limits().unwrap().release(&a).await.unwrap();
    assert_eq!(claim(&ours, &c).await, None, "b is first");
    let second = claim(&theirs, &b).await.expect("its turn");
    assert!(second > first);
    theirs.limits().unwrap().release(&b).await.unwrap();
    assert!(claim(&ours, &c).await.is_some());
}

async fn whoever_lost_its_lease_can_neither_renew_it_nor_free_the_seat_of_another(setup: Setup) {
    let (backend, key) = (setup.open().await, id());
    let limits = backend.limits().unwrap();
    let [slow, next] = ["slow", "next"].map(|token| seat(&key, token, SHORT));
    let first = claim(&backend, &slow).await.unwrap();
    assert!(limits.renew(&slow).await.unwrap());
    let second = testkit::eventually(SOON, async || claim(&backend, &next).await).await;
    assert!(second > first);
    let next = Seat { lease: LEASE, ..next };
    assert!(limits.renew(&next).await.unwrap());
    assert!(!limits.renew(&slow).await.unwrap());
    limits.release(&slow).await.unwrap();
    assert_eq!(claim(&backend, &slow).await, None, "the seat is still taken");
    assert!(limits.renew(&next).await.unwrap());
}

async fn a_seat_that_is_freed_is_told_to_who_waits(setup: Setup) {
    let (ours, theirs, key) = (setup.open().await, setup.open().await, id());
    let mut freed = theirs.limits().unwrap().freed(&key).await.unwrap();
    let a = seat(&key, "a", LEASE);
    claim(&ours, &a).await.unwrap();
    ours.limits().unwrap().release(&a).await.unwrap();
    next(&mut freed).await;
}

async fn a_place_in_the_line_that_nobody_asks_for_is_lost(setup: Setup) {
    let (backend, key) = (setup.open().await, id());
    let [holder, dead, patient] =
        [("holder", LEASE), ("dead", SHORT), ("patient", LEASE)].map(|(token, lease)| seat(&key, token, lease));
    claim(&backend, &holder).await.unwrap();
    assert_eq!(claim(&backend, &dead).await, None);
    assert_eq!(claim(&backend, &patient).await, None);
    backend.limits().unwrap().release(&holder).await.unwrap();
    assert_eq!(claim(&backend, &patient).await, None, "the dead one is first, for a while");
    testkit::eventually(SOON, async || claim(&backend, &patient).await).await;
}

async fn a_seat_that_is_held_outlives_its_lease_and_is_free_when_it_is_dropped(setup: Setup) {
    let (ours, theirs, key) = (setup.open().await, setup.open().await, id());
    let held = HeldSeat::take(&ours, &key, 1, SHORT).await.unwrap().expect("this backend keeps limits");
    assert_eq!(held.key(), key);
    // Whoever is dropped while it waits leaves its place in the line.
    assert!(timeout(SHORT * 2, HeldSeat::take(&ours, &key, 1, LEASE)).await.is_err(), "the lease is renewed");
    let next = tokio::spawn(async move { HeldSeat::take(&theirs, &key, 1, LEASE).await.unwrap().is_some() });
    drop(held);
    assert!(timeout(SOON, next).await.expect("it is free").unwrap());
}

async fn starts_that_are_given_back_leave_neither_debt_nor_burst(setup: Setup) {
    let (backend, key, interval) = (setup.open().await, id(), Duration::from_secs(600));
    let limits = backend.limits().unwrap();
    for _ in 0..5 {
        limits.reserve(&key, interval).await.unwrap();
    }
    for _ in 0..20 {
        limits.give_back(&key, interval).await.unwrap();
    }
    assert!(limits.reserve(&key, interval).await.unwrap() < Duration::from_secs(1));
    assert!(limits.reserve(&key, interval).await.unwrap() > Duration::from_secs(590));
    limits.give_back(&id(), interval).await.unwrap();
}

async fn starts_are_reserved_one_interval_apart_by_whoever_asks(setup: Setup) {
    let (ours, theirs, key) = (setup.open().await, setup.open().await, id());
    let interval = Duration::from_secs(100);
    let mut delays = Vec::new();
    for backend in [&ours, &theirs, &ours] {
        delays.push(backend.limits().unwrap().reserve(&key, interval).await.unwrap().as_secs_f64());
    }
    for (delay, expected) in delays.iter().zip([0.0, 100.0, 200.0]) {
        assert!((expected - 10.0..=expected).contains(delay), "{delays:?}");
    }
    let endless = ours.limits().unwrap().reserve(&id(), Duration::MAX).await.unwrap();
    assert!(endless.is_zero());
}
