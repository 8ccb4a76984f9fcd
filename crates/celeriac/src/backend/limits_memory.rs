//! The limits of the whole cluster, where the cluster is this process. The rules are those of the scripts for Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::limits::{ClusterLimits, Grant, Seat};
use super::{BackendError, Change, ResultSubscription};

/// A rate below this is none that could be waited for.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

#[derive(Clone, Default)]
pub(super) struct MemoryLimits(Arc<Mutex<Limits>>);

#[derive(Default)]
struct Limits {
    tables: HashMap<String, Table>,
    fence: u64,
    /// When the next start under each rate is.
    rates: HashMap<String, Instant>,
    watchers: HashMap<String, Vec<mpsc::Sender<Change>>>,
}

/// The seats under one key. Pure: time passes as it is told.
#[derive(Debug, Default)]
struct Table {
    seated: Vec<Place>,
    line: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    token: String,
    until: Instant,
}

impl Table {
    /// `Ok`: the seat is the caller's; else how long to wait at most.
    fn claim(&mut self, seat: &Seat, now: Instant) -> Result<(), Duration> {
        self.seated.retain(|place| place.until > now);
        self.line.retain(|place| place.until > now || place.token == seat.token);
        let until = now + seat.lease;
        if let Some(place) = self.seated.iter_mut().find(|place| place.token == seat.token) {
            place.until = until;
            return Ok(());
        }
        let place = match self.line.iter().position(|place| place.token == seat.token) {
            Some(place) => place,
            None => {
                self.line.push(Place { token: seat.token.clone(), until });
                self.line.len() - 1
            }
        };
        self.line[place].until = until;
        if self.seated.len() + place < seat.limit as usize {
            self.seated.push(self.line.remove(place));
            return Ok(());
        }
        let first_to_go = self.seated.iter().chain(&self.line).map(|place| place.until).min();
        Err(first_to_go.map_or(seat.lease, |until| until - now))
    }

    fn renew(&mut self, seat: &Seat, now: Instant) -> bool {
        let place = self.seated.iter_mut().find(|place| place.token == seat.token && place.until > now);
        place.map(|place| place.until = now + seat.lease).is_some()
    }

    fn release(&mut self, token: &str) {
        self.seated.retain(|place| place.token != token);
        self.line.retain(|place| place.token != token);
    }

    fn is_empty(&self) -> bool {
        self.seated.is_empty() && self.line.is_empty()
    }
}

#[async_trait]
impl ClusterLimits for MemoryLimits {
    async fn claim(&self, seat: &Seat) -> Result<Grant, BackendError> {
        let mut limits = self.0.lock();
        match limits.tables.entry(seat.key.clone()).or_default().claim(seat, Instant::now()) {
            Ok(()) => {
                limits.fence += 1;
                Ok(Grant::Seated { fence: limits.fence })
            }
            Err(at_most) => Ok(Grant::Wait { at_most }),
        }
    }

    async fn renew(&self, seat: &Seat) -> Result<bool, BackendError> {
        Ok(self.0.lock().tables.get_mut(&seat.key).is_some_and(|table| table.renew(seat, Instant::now())))
    }

    async fn release(&self, seat: &Seat) -> Result<(), BackendError> {
        let mut limits = self.0.lock();
        if let Some(table) = limits.tables.get_mut(&seat.key) {
            table.release(&seat.token);
            if table.is_empty() {
                limits.tables.remove(&seat.key);
            }
        }
        if let Some(watchers) = limits.watchers.get_mut(&seat.key) {
            watchers.retain(|watcher| !watcher.is_closed());
            for watcher in watchers {
                // One that is full will look anyway.
                let _ = watcher.try_send(Change::Resubscribed);
            }
        }
        Ok(())
    }

    async fn freed(&self, key: &str) -> Result<ResultSubscription, BackendError> {
        let (sender, receiver) = mpsc::channel(1);
        self.0.lock().watchers.entry(key.to_owned()).or_default().push(sender);
        let (limits, key) = (Arc::downgrade(&self.0), key.to_owned());
        Ok(ResultSubscription::new(receiver, move || {
            let Some(limits) = limits.upgrade() else { return };
            let mut limits = limits.lock();
            if let Some(watchers) = limits.watchers.get_mut(&key) {
                watchers.retain(|watcher| !watcher.is_closed());
                if watchers.is_empty() {
                    limits.watchers.remove(&key);
                }
            }
        }))
    }

    async fn reserve(&self, key: &str, interval: Duration) -> Result<Duration, BackendError> {
        let now = Instant::now();
        let mut limits = self.0.lock();
        // A rate whose next start is over says nothing any more.
        limits.rates.retain(|other, next| *next > now || other == key);
        let start = limits.rates.get(key).map_or(now, |next| (*next).max(now));
        limits.rates.insert(key.to_owned(), start + interval.min(FOR_EVER));
        Ok(start - now)
    }

    async fn give_back(&self, key: &str, interval: Duration) -> Result<(), BackendError> {
        let now = Instant::now();
        if let Some(next) = self.0.lock().rates.get_mut(key).filter(|next| **next > now) {
            *next = next.checked_sub(interval.min(FOR_EVER)).map_or(now, |before| before.max(now));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn seat(token: u8, limit: u32) -> Seat {
        Seat { key: "key".to_owned(), token: token.to_string(), limit, lease: LEASE }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Claim(u8),
        Renew(u8),
        Release(u8),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6_u8).prop_map(Step::Claim),
            1 => (0..6_u8).prop_map(Step::Renew),
            2 => (0..6_u8).prop_map(Step::Release),
            1 => (1..15_u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn never_more_hold_a_seat_than_there_are(limit in 1..4_u32, steps in prop::collection::vec(step(), 0..200)) {
            let (mut table, mut now) = (Table::default(), Instant::now());
            // Until when each believes to have a seat.
            let mut believed: HashMap<u8, Instant> = HashMap::new();
            for step in steps {
                match step {
                    Step::Claim(token) => {
                        if table.claim(&seat(token, limit), now).is_ok() {
                            believed.insert(token, now + LEASE);
                        }
                    }
                    Step::Renew(token) => {
                        let holds = believed.get(&token).is_some_and(|until| *until > now);
                        prop_assert_eq!(table.renew(&seat(token, limit), now), holds);
                        if holds {
                            believed.insert(token, now + LEASE);
                        }
                    }
                    Step::Release(token) => {
                        believed.remove(&token);
                        table.release(&token.to_string());
                    }
                    Step::Pass(seconds) => now += Duration::from_secs(seconds),
                }
                believed.retain(|_, until| *until > now);
                prop_assert!(believed.len() <= limit as usize);
            }
        }

        #[test]
        fn seats_are_given_in_the_order_of_the_line(limit in 1..4_u32, order in prop::collection::vec(any::<prop::sample::Index>(), 60)) {
            let (mut table, now) = (Table::default(), Instant::now());
            let mut waiting: Vec<u8> = (0..20).collect();
            let mut given: Vec<u8> = Vec::new();
            for token in 0..20 {
                if table.claim(&seat(token, limit), now).is_ok() {
                    given.push(token);
                }
            }
            waiting.retain(|token| !given.contains(token));
            let mut released = 0;
            // They ask again in any order, and those who have been given a seat leave one after the other.
            while !waiting.is_empty() {
                table.release(&given[released].to_string());
                released += 1;
                for index in &order {
                    let token = *index.get(&waiting);
                    if table.claim(&seat(token, limit), now).is_ok() {
                        given.push(token);
                        waiting.retain(|other| *other != token);
                        break;
                    }
                }
                for token in waiting.clone() {
                    if table.claim(&seat(token, limit), now).is_ok() {
                        given.push(token);
                        waiting.retain(|other| *other != token);
                    }
                }
            }
            prop_assert!(given.is_sorted(), "{:?}", given);
        }

        #[test]
        fn whoever_keeps_asking_gets_a_seat_although_holders_and_those_before_have_died(dead in 0..6_u8, limit in 1..4_u32) {
            let (mut table, mut now) = (Table::default(), Instant::now());
            for token in 0..dead {
                let _ = table.claim(&seat(token, limit), now);
            }
            let mut waited = Duration::ZERO;
            while let Err(at_most) = table.claim(&seat(100, limit), now) {
                prop_assert!(!at_most.is_zero());
                waited += at_most;
                now += at_most;
                prop_assert!(waited <= LEASE);
            }
        }
    }
}
