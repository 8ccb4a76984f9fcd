//! One reader of the event log: from a place on, batch by batch, without an end.

use std::collections::VecDeque;

use billing::Services;
use billing::event::{Event, EventKind, Position, ResumeToken};
use billing::store::events;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::deadline::Deadline;
use crate::error::ApiError;
use crate::streams::StreamPermit;
use crate::tail::Tail;

/// How many events are read at once.
const BATCH: i64 = 500;

/// A stream of the log. Dropping it ends everything that belongs to it.
pub(crate) struct Follow {
    services: Services,
    end: watch::Receiver<Position>,
    kinds: Vec<EventKind>,
    epoch: Uuid,
    /// Everything up to here was read.
    position: Position,
    read: VecDeque<Event>,
    deadline: Deadline,
    shutdown: CancellationToken,
    _permit: StreamPermit,
}

/// What a reader comes to next.
pub(crate) enum Next {
    Event(Box<Event>),
    /// Everything there is was read; this is the place.
    CaughtUp,
}

impl Follow {
    /// Begins at `token`, or at the end of the log.
    pub(crate) async fn open(
        services: Services,
        tail: &Tail,
        token: Option<ResumeToken>,
        kinds: Vec<EventKind>,
        deadline: Deadline,
        shutdown: CancellationToken,
        permit: StreamPermit,
    ) -> Result<Self, ApiError> {
        let end = tail.follow();
        let log = tail.catch_up().await?;
        let position = match token {
            Some(token) => log.resume(token)?,
            None => log.last_position,
        };
        let (epoch, read) = (log.epoch, VecDeque::new());
        Ok(Self { services, end, kinds, epoch, position, read, deadline, shutdown, _permit: permit })
    }

    /// Where the reader stands once it has dealt with everything it was given.
    pub(crate) fn token(&self) -> ResumeToken {
        ResumeToken { epoch: self.epoch, position: self.position }
    }

    /// The next event, or word that there is none now. After that [`Follow::grown`] waits for more.
    pub(crate) async fn next(&mut self) -> Result<Next, ApiError> {
        if self.read.is_empty() {
            let end = *self.end.borrow_and_update();
            if end > self.position {
                let mut conn = self.services.db.conn().await?;
                self.read = events::read(&mut conn, self.position, &self.kinds, None, BATCH).await?.into();
                if self.read.is_empty() {
                    self.position = end;
                }
            }
        }
        match self.read.pop_front() {
            Some(event) => {
                self.position = event.position.unwrap_or(self.position);
                Ok(Next::Event(Box::new(event)))
            }
            None => Ok(Next::CaughtUp),
        }
    }

    /// Completes when the log has grown.
    pub(crate) async fn grown(&mut self) -> Result<(), ApiError> {
        tokio::select! {
            () = self.shutdown.cancelled() => Err(ApiError::ShuttingDown),
            () = self.deadline.passed() => Err(ApiError::DeadlineExceeded),
            changed = self.end.changed() => changed.map_err(|_| ApiError::ShuttingDown),
        }
    }
}
