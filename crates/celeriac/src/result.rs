//! The result of a task, wherever it runs.

mod group;

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::backend::{BackendError, Change, ResultBackend, ResultSubscription};
use crate::protocol::{RawJson, ResultMeta, State};
use crate::task::Failure;

pub(crate) use self::group::read as read_group;
pub use self::group::{GroupResult, Published};

/// How long to wait before a backend that cannot be reached is asked again.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// The result of a task, known by the task's id. `R` is the type of its value; `()` takes any value.
///
/// ```no_run
/// # use std::time::Duration;
/// # use celeriac::{App, GetError};
/// # async fn example(app: App) -> Result<(), GetError> {
/// let sum = app.result::<i64>("0b2f6a1c-8f2e-4f43-9d5a-0f1f2b1d7c11");
/// match sum.get(Duration::from_secs(10)).await {
///     Ok(value) => println!("{value}"),
///     Err(GetError::Failed(failure)) => println!("failed: {failure}"),
///     Err(GetError::Timeout { .. }) => println!("still {}", sum.state().await?),
///     Err(error) => return Err(error),
/// }
/// sum.forget().await?;
/// # Ok(())
/// # }
/// ```
pub struct AsyncResult<R = ()> {
    id: String,
    backend: Arc<dyn ResultBackend>,
    value: PhantomData<fn() -> R>,
}

/// Why there is no value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GetError {
    /// The task has not ended within the time; it may still.
    #[error("task {id} has not ended within {waited:?}")]
    Timeout {
        /// The task's id.
        id: String,
        /// The timeout that was given.
        waited: Duration,
    },
    /// The task has failed.
    #[error("{0}")]
    Failed(Failure),
    /// The task was revoked, has expired, or was terminated.
    #[error("task revoked: {0}")]
    Revoked(String),
    /// What is stored is of another type, or was not stored by Celery.
    #[error("the result of task {id} cannot be read: {reason}")]
    Unreadable {
        /// Of the task, or of the group.
        id: String,
        /// What is wrong with what is stored.
        reason: String,
    },
    /// The result backend cannot be asked.
    #[error("result backend {0}")]
    Backend(#[from] BackendError),
}

impl AsyncResult {
    pub(crate) fn new<R>(id: String, backend: Arc<dyn ResultBackend>) -> AsyncResult<R> {
        AsyncResult { id, backend, value: PhantomData }
    }
}

impl<R: 'static> AsyncResult<R> {
    /// The id of the task.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same result, its value read as another type.
    #[must_use]
    pub fn typed<T: 'static>(self) -> AsyncResult<T> {
        AsyncResult::new(self.id, self.backend)
    }

    /// The state that is stored now. PENDING: nothing is known, the task may wait or may never have been sent.
    ///
    /// # Errors
    /// The backend cannot be asked, or what is stored cannot be read.
    pub async fn state(&self) -> Result<State, GetError> {
        Ok(self.meta().await?.map_or(State::Pending, |meta| meta.state))
    }

    /// Everything that is stored now; `None` if nothing is.
    ///
    /// # Errors
    /// The backend cannot be asked, or what is stored cannot be read.
    pub async fn meta(&self) -> Result<Option<ResultMeta>, GetError> {
        let stored = self.backend.get(&self.id).await?;
        stored.map(|text| self.parse(&text)).transpose()
    }

    /// Waits until the task has ended and answers its value. It is woken by the backend, it does not ask again and again.
    ///
    /// A backend that cannot be reached is waited for, within the timeout.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get(&self, timeout: Duration) -> Result<R, GetError>
    where
        R: DeserializeOwned,
    {
        let deadline = Instant::now() + timeout;
        loop {
            match tokio::time::timeout_at(deadline, self.ended()).await {
                Ok(Ok(meta)) => return self.value_of(&meta),
                Ok(Err(GetError::Backend(BackendError::Unavailable { .. }))) if Instant::now() < deadline => {
                    tokio::time::sleep_until(deadline.min(Instant::now() + RETRY_EVERY)).await;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(GetError::Timeout { id: self.id.clone(), waited: timeout }),
            }
        }
    }

    /// Follows the task: [`ResultWatch::changed`] answers its state now, if any, and every change from now on.
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn watch(&self) -> Result<ResultWatch, GetError> {
        // Subscribe first and read after: what is stored in between is then seen twice instead of never.
        let subscription = self.backend.subscribe(&self.id).await?;
        let result = AsyncResult::new(self.id.clone(), Arc::clone(&self.backend));
        Ok(ResultWatch { result, subscription, state: WatchState::Stale, last: None })
    }

    /// Removes what is stored.
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn forget(&self) -> Result<(), GetError> {
        Ok(self.backend.forget(&self.id).await?)
    }

    async fn ended(&self) -> Result<ResultMeta, GetError> {
        let mut watch = self.watch().await?;
        loop {
            let meta = watch.changed().await?;
            if meta.state.is_ready() {
                return Ok(meta);
            }
        }
    }

    fn value_of(&self, meta: &ResultMeta) -> Result<R, GetError>
    where
        R: DeserializeOwned,
    {
        match (&meta.state, meta.exception_info()) {
            (State::Revoked, Some(failure)) => {
                let reason = failure.exc_message.first().and_then(serde_json::Value::as_str).unwrap_or("revoked");
                Err(GetError::Revoked(reason.to_owned()))
            }
            (_, Some(failure)) => Err(GetError::Failed(failure)),
            (_, None) => {
                let takes_anything = TypeId::of::<R>() == TypeId::of::<()>();
                let value = if takes_anything { &RawJson::NULL } else { &meta.result };
                value.read().map_err(|error| self.unreadable(error.to_string()))
            }
        }
    }

    fn parse(&self, text: &str) -> Result<ResultMeta, GetError> {
        ResultMeta::from_json(text).map_err(|error| self.unreadable(error.to_string()))
    }

    fn unreadable(&self, reason: String) -> GetError {
        GetError::Unreadable { id: self.id.clone(), reason }
    }
}

impl<R> Clone for AsyncResult<R> {
    fn clone(&self) -> Self {
        Self { id: self.id.clone(), backend: Arc::clone(&self.backend), value: PhantomData }
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncResult").field(&self.id).finish()
    }
}

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
                    self.subscription = self.result.backend.subscribe(&self.result.id).await?;
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
