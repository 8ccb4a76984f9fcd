//! What is sent, and when.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::schedule::task_id;
use super::{CatchUp, Crontab, Schedule};
use crate::app::{App, SendError, SendOptions};
use crate::task::Task;

type Sending = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send>>;

/// A task and the times at which it is sent.
#[must_use]
pub struct Entry {
    pub(super) name: String,
    pub(super) when: When,
    pub(super) catch_up: CatchUp,
    options: SendOptions,
    send: Arc<dyn Fn(App, SendOptions) -> Sending + Send + Sync>,
}

/// A schedule whose time zone is still to be said.
pub(super) enum When {
    Every(Duration),
    Crontab(Crontab),
}

impl Entry {
    /// Sends a task at every multiple of `every` since 1970.
    pub fn every<T: Task>(name: impl Into<String>, every: Duration, task: T) -> Self {
        Self::new(name.into(), When::Every(every), task)
    }

    /// Sends a task at the times of a crontab, by the clocks of the beat's time zone.
    pub fn crontab<T: Task>(name: impl Into<String>, crontab: Crontab, task: T) -> Self {
        Self::new(name.into(), When::Crontab(crontab), task)
    }

    fn new<T: Task>(name: String, when: When, task: T) -> Self {
        let task = Arc::new(task);
        let send = move |app: App, options| -> Sending {
            let task = Arc::clone(&task);
            Box::pin(async move { app.send_ref(&*task, options).await.map(drop) })
        };
        Self { name, when, catch_up: CatchUp::default(), options: SendOptions::new(), send: Arc::new(send) }
    }

    /// What becomes of ticks that were missed; [`CatchUp::Once`] by default.
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }

    /// How it is sent. A task id given here is not used: every tick has its own.
    pub fn options(mut self, options: SendOptions) -> Self {
        self.options = options;
        self
    }

    pub(super) fn schedule(&self, zone: Tz) -> Schedule {
        match &self.when {
            When::Every(every) => Schedule::Every(*every),
            When::Crontab(crontab) => Schedule::Crontab(crontab.clone(), zone),
        }
    }

    /// Sends the task of one tick.
    pub(super) async fn send(&self, app: &App, tick: DateTime<Utc>) -> Result<(), SendError> {
        let options = self.options.clone().task_id(task_id(&self.name, tick)).header("celery_beat_task", true);
        (self.send)(app.clone(), options).await
    }
}
