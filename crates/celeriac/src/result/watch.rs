//! Following a result.

use super::{AsyncResult, GetError};
use crate::backend::{Change, ResultSubscription};
use crate::protocol::ResultMeta;

/// The changes of a task's result.
#[derive(Debug)]
pub struct ResultWatch {
    result: AsyncResult,
    subscription: ResultSubscription,
    state: WatchState,
    last: Option<ResultMeta>,
}

/// What has to be done before waiting for the next change. It survives a call that fails or is given up.
#[derive(Debug)]
enum WatchState {
    Current,
    /// Something may have been missed: read again.
    Stale,
    /// The subscription has ended: subscribe anew, then read again.
    Ended,
}

impl ResultWatch {
    pub(super) fn new(result: AsyncResult, subscription: ResultSubscription) -> Self {
        Self { result, subscription, state: WatchState::Stale, last: None }
    }

    /// Waits for the next change and answers it. The first is what was stored already, if anything was.
    ///
    /// A connection that is lost is mended and the result read again, so that no final state is missed; states in
    /// between may be. A call may be given up (by a timeout) without missing anything.
    ///
    /// # Errors
    /// The backend cannot be asked; call again to go on.
    pub async fn changed(&mut self) -> Result<ResultMeta, GetError> {
        loop {
            let meta = match self.state {
                WatchState::Ended => {
                    self.subscription = self.result.backend().subscribe(&self.result.id).await?;
                    self.state = WatchState::Stale;
                    continue;
                }
                WatchState::Stale => {
                    let meta = self.result.meta().await?;
                    self.state = WatchState::Current;
                    meta
                }
                WatchState::Current => match self.subscription.recv().await {
                    Some(Change::Stored(text)) => Some(self.result.parse(&text)?),
                    Some(Change::Resubscribed) => {
                        self.state = WatchState::Stale;
                        continue;
                    }
                    None => {
                        self.state = WatchState::Ended;
                        continue;
                    }
                },
            };
            if let Some(meta) = meta
                && self.last.as_ref() != Some(&meta)
            {
                self.last = Some(meta.clone());
                return Ok(meta);
            }
        }
    }
}
