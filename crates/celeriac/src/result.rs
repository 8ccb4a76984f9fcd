//! The result of a task, wherever it runs.

mod family;
mod group;
mod watch;

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::app::App;
use crate::backend::{BackendError, ResultBackend};
use crate::broker::BrokerError;
use crate::control::{Client, Command};
use crate::protocol::{JsonError, RawJson, ResultMeta, ResultTuple, State};
use crate::task::Failure;

pub(crate) use self::family::leaves;
pub use self::group::{GroupResult, Published};
pub(crate) use self::group::{read as read_group, write as write_group};
pub use self::watch::ResultWatch;

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
    app: App,
    /// What comes before it in its workflow.
    parent: Option<Arc<ResultTuple>>,
    /// The task was sent with `ignore_result`.
    ignored: bool,
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
    /// The task has failed, or one before it in its workflow has.
    #[error("{0}")]
    Failed(Failure),
    /// The task was revoked, has expired, or was terminated; or one before it in its workflow was.
    #[error("task revoked: {0}")]
    Revoked(String),
    /// The task was sent with `ignore_result`: how it ends is never stored, so there is nothing to wait for.
    #[error("task {id} stores no result")]
    Ignored {
        /// The task's id.
        id: String,
    },
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
    pub(crate) fn new<R>(id: String, app: App) -> AsyncResult<R> {
        AsyncResult { id, app, parent: None, ignored: false, value: PhantomData }
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
        let Self { id, app, parent, ignored, .. } = self;
        AsyncResult { id, app, parent, ignored, value: PhantomData }
    }

    /// The state that is stored now. PENDING: nothing is known, the task may wait or may never have been sent.
    ///
    /// # Errors
    /// The backend cannot be asked, or what is stored cannot be read.
    pub async fn state(&self) -> Result<State, GetError> {
        Ok(self.meta().await?.map_or(State::Pending, |meta| meta.state))
    }

    /// The task has ended: it succeeded, failed or was revoked.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub async fn ready(&self) -> Result<bool, GetError> {
        Ok(self.state().await?.is_ready())
    }

    /// The task has ended with a value.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub async fn successful(&self) -> Result<bool, GetError> {
        Ok(self.state().await? == State::Success)
    }

    /// The task has failed. One that was revoked has not.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub async fn failed(&self) -> Result<bool, GetError> {
        Ok(self.state().await? == State::Failure)
    }

    /// Everything that is stored now, Celery's `info`, `traceback`, `date_done` and, with `result_extended`, `name`,
    /// `args`, `worker`, …; `None` if nothing is (Celery's `exists`).
    ///
    /// # Errors
    /// The backend cannot be asked, or what is stored cannot be read.
    pub async fn meta(&self) -> Result<Option<ResultMeta>, GetError> {
        let stored = self.backend().get(&self.id).await?;
        stored.map(|text| self.parse(&text)).transpose()
    }

    /// Waits until the task has ended and answers its value. It is woken by the backend, it does not ask again and again.
    ///
    /// A backend that cannot be reached is waited for, within the timeout. Where the task is a step of a workflow that was
    /// published here, the failure of a step before it ends the waiting too.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get(&self, timeout: Duration) -> Result<R, GetError>
    where
        R: DeserializeOwned,
    {
        let value = self.value(timeout).await?;
        read(&value).map_err(|error| self.unreadable(error.to_string()))
    }

    /// Waits for the value.
    async fn value(&self, timeout: Duration) -> Result<RawJson, GetError> {
        let deadline = Instant::now() + timeout;
        loop {
            match tokio::time::timeout_at(deadline, self.decided()).await {
                Ok(Ok(meta)) => return error_of(&meta).map_or(Ok(meta.result), Err),
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
        let subscription = self.backend().subscribe(&self.id).await?;
        Ok(ResultWatch::new(AsyncResult::new(self.id.clone(), self.app.clone()), subscription))
    }

    /// Removes what is stored of the task, and of those before it in its workflow.
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn forget(&self) -> Result<(), GetError> {
        for id in self.ancestors().into_iter().chain([self.id()]) {
            self.backend().forget(id).await?;
        }
        Ok(())
    }

    /// Tells all workers to drop the task instead of beginning it. One that runs goes on.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn revoke(&self) -> Result<(), BrokerError> {
        self.control().cast(Command::revoke([self.id()])).await
    }

    /// Tells all workers to drop the task, and the one that runs it to end it.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn terminate(&self) -> Result<(), BrokerError> {
        self.control().cast(Command::terminate([self.id()])).await
    }

    fn control(&self) -> Client {
        Client::new(Arc::clone(self.app.broker()))
    }

    fn backend(&self) -> &Arc<dyn ResultBackend> {
        self.app.backend()
    }

    /// Whether nothing will be stored.
    pub(crate) fn ignoring(mut self, ignored: bool) -> Self {
        self.ignored = ignored;
        self
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

    fn parse(&self, text: &str) -> Result<ResultMeta, GetError> {
        ResultMeta::from_json(text).map_err(|error| self.unreadable(error.to_string()))
    }

    fn unreadable(&self, reason: String) -> GetError {
        GetError::Unreadable { id: self.id.clone(), reason }
    }
}

/// Reads a value; `()` takes any.
fn read<R: DeserializeOwned + 'static>(value: &RawJson) -> Result<R, JsonError> {
    let takes_anything = TypeId::of::<R>() == TypeId::of::<()>();
    let value = if takes_anything { &RawJson::NULL } else { value };
    value.read()
}

/// The error that a task has ended with.
fn error_of(meta: &ResultMeta) -> Option<GetError> {
    let failure = meta.exception_info()?;
    Some(if meta.state == State::Revoked {
        let reason = failure.exc_message.first().and_then(serde_json::Value::as_str).unwrap_or("revoked");
        GetError::Revoked(reason.to_owned())
    } else {
        GetError::Failed(failure)
    })
}

impl<R> Clone for AsyncResult<R> {
    fn clone(&self) -> Self {
        let Self { id, app, parent, ignored, value } = self;
        Self { id: id.clone(), app: app.clone(), parent: parent.clone(), ignored: *ignored, value: *value }
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncResult").field(&self.id).finish()
    }
}
