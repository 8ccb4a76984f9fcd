//! The results of several tasks that belong together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{AsyncResult, GetError};
use crate::backend::ResultBackend;
use crate::protocol::{Json, RawJson, ResultTuple};

/// Where the result of a workflow is found.
#[derive(Clone, Debug)]
pub enum Published {
    /// One task, the last of a chain, or the body of a chord.
    Task(AsyncResult),
    /// The tasks of a group.
    Group(GroupResult),
}

/// The results of the tasks of a group, in its order; those of groups in it stand among the others.
///
/// ```no_run
/// # use std::time::Duration;
/// # use celeriac::canvas::{Canvas, Signature};
/// # use celeriac::{App, Published};
/// # async fn example(app: App) -> Result<(), Box<dyn std::error::Error>> {
/// let mails = Canvas::group((1..=3).map(|order| Signature::new("shop.mail").arg(order)));
/// let Published::Group(mails) = app.publish(mails).await? else { unreachable!("it is a group") };
/// mails.save().await?;
///
/// // Perhaps in another program, later:
/// let Some(mails) = app.restore_group(mails.id()).await? else { return Ok(()) };
/// println!("{} are done", mails.completed_count().await?);
/// let sent = mails.get::<bool>(Duration::from_secs(60)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GroupResult {
    tuple: ResultTuple,
    backend: Arc<dyn ResultBackend>,
}

impl Published {
    pub(crate) fn new(tuple: ResultTuple, backend: &Arc<dyn ResultBackend>) -> Self {
        match &tuple.children {
            None => Self::Task(AsyncResult::new(tuple.id, Arc::clone(backend))),
            Some(_) => Self::Group(GroupResult::new(tuple, Arc::clone(backend))),
        }
    }

    pub(crate) fn tuple(&self) -> ResultTuple {
        match self {
            Self::Task(result) => ResultTuple::task(result.id()),
            Self::Group(group) => group.tuple.clone(),
        }
    }

    /// The id of the task, or of the group.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Task(result) => result.id(),
            Self::Group(group) => group.id(),
        }
    }

    /// Waits for the value; that of a group is the list of the values of its tasks.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get<R: DeserializeOwned + 'static>(&self, timeout: Duration) -> Result<R, GetError> {
        match self {
            Self::Task(result) => result.clone().typed().get(timeout).await,
            Self::Group(group) => {
                let values = group.get::<serde_json::Value>(timeout).await?;
                let unreadable = |reason: String| GetError::Unreadable { id: group.id().to_owned(), reason };
                serde_json::from_value(values.into()).map_err(|error| unreadable(error.to_string()))
            }
        }
    }
}

impl GroupResult {
    pub(crate) fn new(tuple: ResultTuple, backend: Arc<dyn ResultBackend>) -> Self {
        Self { tuple, backend }
    }

    /// The id of the group.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.tuple.id
    }

    /// The result of each task.
    #[must_use]
    pub fn results<R: 'static>(&self) -> Vec<AsyncResult<R>> {
        let mut ids = Vec::new();
        leaves(&self.tuple, &mut ids);
        ids.into_iter().map(|id| AsyncResult::new(id.to_owned(), Arc::clone(&self.backend))).collect()
    }

    /// Waits until all tasks have ended, and answers their values in the order of the group. The first that fails ends
    /// the waiting.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get<R: DeserializeOwned + 'static>(&self, timeout: Duration) -> Result<Vec<R>, GetError> {
        let deadline = Instant::now() + timeout;
        let results = self.results::<R>();
        let values = results.iter().map(|result| result.get(deadline.saturating_duration_since(Instant::now())));
        futures_util::future::try_join_all(values).await
    }

    /// How many tasks have succeeded.
    ///
    /// # Errors
    /// The backend cannot be asked, or what is stored cannot be read.
    pub async fn completed_count(&self) -> Result<usize, GetError> {
        let results = self.results::<()>();
        let states = futures_util::future::try_join_all(results.iter().map(AsyncResult::state)).await?;
        Ok(states.iter().filter(|state| **state == crate::protocol::State::Success).count())
    }

    /// Stores which tasks the group has, so that others can [restore](crate::App::restore_group) it by its id.
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn save(&self) -> Result<(), GetError> {
        let mut text = br#"{"result": "#.to_vec();
        self.tuple.write(&mut text);
        text.push(b'}');
        let text = String::from_utf8(text).expect("JSON is written as UTF-8");
        Ok(self.backend.save_group(self.id(), &text).await?)
    }

    /// Removes what is stored of the group and of its tasks.
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn forget(&self) -> Result<(), GetError> {
        for result in self.results::<()>() {
            result.forget().await?;
        }
        Ok(self.backend.forget_group(self.id()).await?)
    }

    /// Reads a group that was stored.
    pub(crate) async fn restore(id: &str, backend: &Arc<dyn ResultBackend>) -> Result<Option<Self>, GetError> {
        let Some(text) = backend.group(id).await? else { return Ok(None) };
        let tuple = read(&text).ok_or_else(|| GetError::Unreadable {
            id: id.to_owned(),
            reason: "what is stored is no group".to_owned(),
        })?;
        Ok(Some(Self::new(tuple, Arc::clone(backend))))
    }
}

impl fmt::Debug for GroupResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupResult").field(&self.tuple).finish()
    }
}

/// A stored group: `{"result": [[id, parent], [members]]}`.
pub(crate) fn read(text: &str) -> Option<ResultTuple> {
    let json = RawJson::parse(text.to_owned()).ok()?.to_tree();
    json.get("result").and_then(|tuple: &Json| ResultTuple::from_json(tuple))
}

fn leaves<'a>(tuple: &'a ResultTuple, ids: &mut Vec<&'a str>) {
    match &tuple.children {
        None => ids.push(&tuple.id),
        Some(children) => children.iter().for_each(|child| leaves(child, ids)),
    }
}
