//! The only reader of the wall clock here. A test may move it forward.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    ahead: Arc<Mutex<TimeDelta>>,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn now(&self) -> DateTime<Utc> {
        Utc::now() + *self.ahead.lock()
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        *self.ahead.lock() += by;
    }
}
