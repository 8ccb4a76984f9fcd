//! The only reader of the wall clock here. Its time can be moved, and can run faster than the world's.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Clone, Debug)]
pub(crate) struct Clock {
    state: Arc<Mutex<State>>,
    alarm: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    /// The world's time when the sandbox's was `then`.
    anchor: DateTime<Utc>,
    then: DateTime<Utc>,
    speed: u32,
}

impl State {
    fn at(&self, world: DateTime<Utc>) -> DateTime<Utc> {
        let elapsed = (world - self.anchor) * i32::try_from(self.speed).unwrap_or(i32::MAX);
        self.then + elapsed
    }

    fn begin_anew(&mut self, world: DateTime<Utc>) {
        (self.then, self.anchor) = (self.at(world), world);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn world() -> DateTime<Utc> {
    Utc::now()
}

impl Clock {
    /// `speed` seconds pass in one of the world's.
    pub(crate) fn new(speed: u32) -> Self {
        let anchor = world();
        Self { state: Arc::new(Mutex::new(State { anchor, then: anchor, speed: speed.max(1) })), alarm: Arc::default() }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.state.lock().at(world())
    }

    /// How far it is from the world's time.
    pub(crate) fn ahead(&self) -> TimeDelta {
        let world = world();
        self.state.lock().at(world) - world
    }

    pub(crate) fn speed(&self) -> u32 {
        self.state.lock().speed
    }

    /// Forward, or back: then it is behind the world.
    pub(crate) fn advance(&self, by: TimeDelta) {
        {
            let mut state = self.state.lock();
            state.then = state.then.checked_add_signed(by).unwrap_or(state.then);
        }
        self.ring();
    }

    /// So far from the world's time; negative, behind it.
    pub(crate) fn set_ahead(&self, ahead: TimeDelta) {
        {
            let world = world();
            let mut state = self.state.lock();
            state.anchor = world;
            state.then = world.checked_add_signed(ahead).unwrap_or(world);
        }
        self.ring();
    }

    pub(crate) fn set_speed(&self, speed: u32) {
        {
            let mut state = self.state.lock();
            state.begin_anew(world());
            state.speed = speed.max(1);
        }
        self.ring();
    }

    /// How long the world has to wait until this clock shows `moment`.
    pub(crate) fn until(&self, moment: DateTime<Utc>) -> Duration {
        let state = self.state.lock();
        let left = (moment - state.at(world())).to_std().unwrap_or_default();
        // Not a moment early: a sleep of nothing would be slept again and again.
        left / state.speed + if left.is_zero() { Duration::ZERO } else { Duration::from_millis(1) }
    }

    /// Something may be due sooner than was thought.
    pub(crate) fn ring(&self) {
        self.alarm.notify_one();
    }

    /// Waits for a ring. One waiter at a time hears it.
    pub(crate) async fn rung(&self) {
        self.alarm.notified().await;
    }
}
