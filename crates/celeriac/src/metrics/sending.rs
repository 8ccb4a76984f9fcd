//! Figures of what is sent.

use std::time::Duration;

use ::metrics::{Counter, Histogram, counter, histogram};

use super::series::Series;
use super::{DESTINATION, ERROR, SEND_DURATION, SENT};

pub(crate) struct SendMeters {
    sent: Series<Counter>,
    durations: Series<Histogram>,
}

impl SendMeters {
    pub(crate) fn new() -> Self {
        Self {
            sent: Series::new(
                |queue, error| counter!(SENT, DESTINATION => queue.to_owned(), ERROR => error.to_owned()),
            ),
            durations: Series::new(|queue, _| histogram!(SEND_DURATION, DESTINATION => queue.to_owned())),
        }
    }

    /// The broker has taken a task, or not, for this reason.
    pub(crate) fn sent(&self, destination: &str, error: Option<&'static str>, took: Duration) {
        self.sent.get(destination, error.unwrap_or_default()).increment(1);
        if error.is_none() {
            self.durations.get(destination, "").record(took);
        }
    }
}
