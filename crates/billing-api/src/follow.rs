//! One reader of the event log: from a place on, batch by batch, without an end.

use std::collections::VecDeque;
use std::time::Duration;

use billing::event::{Event, EventKind, Position, ResumeToken};
use billing::store::events;
use billing::{AccountId, Services};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::deadline::Deadline;
use crate::error::ApiError;
use crate::streams::StreamPermit;
use crate::tail::Tail;

/// How many events are read at once.
const BATCH: i64 = 500;

/// How often the stream of one account looks at most: many visitors must not read at every event of everybody.
const ACCOUNT_LOOKS_EVERY: Duration = Duration::from_secs(1);

/// What a reader is told of.
pub(crate) struct Filter {
    /// Only these; empty: all.
    pub(crate) kinds: Vec<EventKind>,
    /// Only what is about this account; `None`: all.
    pub(crate) account: Option<AccountId>,
}

/// A stream of the log. Dropping it ends everything that belongs to it.
pub(crate) struct Follow {
    services: Services,
    end: watch::Receiver<Position>,
    filter: Filter,
    /// Not to be looked before.
    next_look: Instant,
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
        filter: Filter,
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
        let next_look = Instant::now();
        Ok(Self { services, end, filter, next_look, epoch, position, read, deadline, shutdown, _permit: permit })
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
                let Filter { kinds, account } = &self.filter;
                self.read = events::read(&mut conn, self.position, kinds, *account, BATCH).await?.into();
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
        let grown = async {
            self.end.changed().await.map_err(|_| ApiError::ShuttingDown)?;
            if self.filter.account.is_some() {
                tokio::time::sleep_until(self.next_look).await;
                self.next_look = Instant::now() + ACCOUNT_LOOKS_EVERY;
            }
            Ok(())
        };
        tokio::select! {
            () = self.shutdown.cancelled() => Err(ApiError::ShuttingDown),
            () = self.deadline.passed() => Err(ApiError::DeadlineExceeded),
            grown = grown => grown,
        }
    }
}
