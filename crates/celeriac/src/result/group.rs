//! The results of several tasks that belong together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{FuturesUnordered, Stream};
use serde::de::DeserializeOwned;

use super::family::{leaves, unless_broken};
use super::{AsyncResult, GetError};
use crate::app::App;
use crate::broker::BrokerError;
use crate::control::{Client, Command};
use crate::protocol::json::elements;
use crate::protocol::{Json, RawJson, ResultTuple, State};

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
    app: App,
}

impl Published {
    pub(crate) fn new(tuple: ResultTuple, app: &App) -> Self {
        match &tuple.children {
            None => Self::Task(AsyncResult::of(tuple, app.clone())),
            Some(_) => Self::Group(GroupResult { tuple, app: app.clone() }),
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

    /// As Celery writes it.
    pub(crate) fn tuple(&self) -> ResultTuple {
        match self {
            Self::Task(result) => result.tuple(),
            Self::Group(group) => group.tuple.clone(),
        }
    }

    /// The result of the step before, where this is a step of a workflow that was published, or read, with it.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self {
            Self::Task(result) => result.parent(),
            Self::Group(group) => group.parent(),
        }
    }

    /// Waits for the value; that of a group is the list of the values of its tasks.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get<R: DeserializeOwned + 'static>(&self, timeout: Duration) -> Result<R, GetError> {
        match self {
            Self::Task(result) => result.clone().typed().get(timeout).await,
            Self::Group(group) => group.read(&group.values(timeout).await?),
        }
    }

    /// [`AsyncResult::revoke`], [`GroupResult::revoke`]
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn revoke(&self) -> Result<(), BrokerError> {
        match self {
            Self::Task(result) => result.revoke().await,
            Self::Group(group) => group.revoke().await,
        }
    }

    /// [`AsyncResult::forget`], [`GroupResult::forget`]
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn forget(&self) -> Result<(), GetError> {
        match self {
            Self::Task(result) => result.forget().await,
            Self::Group(group) => group.forget().await,
        }
    }
}

impl GroupResult {
    /// The id of the group.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.tuple.id
    }

    /// The result of each task: Celery's `results` and `children`.
    #[must_use]
    pub fn results<R: 'static>(&self) -> Vec<AsyncResult<R>> {
        self.ids().into_iter().map(|id| AsyncResult::new(id.to_owned(), self.app.clone())).collect()
    }

    /// The result of the step before the group in its workflow.
    #[must_use]
    pub fn parent(&self) -> Option<Published> {
        self.tuple.parent.as_deref().map(|parent| Published::new(parent.clone(), &self.app))
    }

    /// Waits until all tasks have ended, and answers their values in the order of the group (Celery's `join`): for a
    /// group in it, as a chain that ends in one is, a list. The first that fails ends the waiting.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get<R: DeserializeOwned + 'static>(&self, timeout: Duration) -> Result<Vec<R>, GetError> {
        let values = self.values(timeout).await?;
        elements(&values).into_iter().flatten().map(|value| self.read(&value)).collect()
    }

    async fn values(&self, timeout: Duration) -> Result<RawJson, GetError> {
        let results = self.results::<()>();
        let values = try_join_all(results.iter().map(|result| result.value(timeout)));
        let values = unless_broken(values, self.tuple.parent.as_deref(), &self.app).await?;
        let list = nested(&self.tuple, &mut values.into_iter());
        RawJson::parse(list).map_err(|error| self.unreadable(error.to_string()))
    }

    fn read<R: DeserializeOwned + 'static>(&self, value: &RawJson) -> Result<R, GetError> {
        super::read(value).map_err(|error| self.unreadable(error.to_string()))
    }

    fn unreadable(&self, reason: String) -> GetError {
        GetError::Unreadable { id: self.id().to_owned(), reason }
    }

    /// The tasks as they end, in the order in which they do, each with its value or why it has none (Celery's
    /// `iter_native`). Those that have not ended within the timeout come last, as [`GetError::Timeout`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use celeriac::GroupResult;
    /// use futures_util::StreamExt;
    ///
    /// # async fn example(mails: GroupResult) {
    /// let mut mails = std::pin::pin!(mails.iterate::<bool>(Duration::from_secs(60)));
    /// while let Some((mail, sent)) = mails.next().await {
    ///     println!("{}: {sent:?}", mail.id());
    /// }
    /// # }
    /// ```
    pub fn iterate<R: DeserializeOwned + 'static>(
        &self,
        timeout: Duration,
    ) -> impl Stream<Item = (AsyncResult<R>, Result<R, GetError>)> + Send + use<R> {
        let results = self.results::<R>().into_iter();
        let ends: FuturesUnordered<_> = results
            .map(|result| async move {
                let value = result.get(timeout).await;
                (result, value)
            })
            .collect();
        ends
    }

    /// How many tasks have succeeded.
    ///
    /// # Errors
    /// The backend cannot be asked, or what is stored cannot be read.
    pub async fn completed_count(&self) -> Result<usize, GetError> {
        Ok(self.states().await?.iter().filter(|state| **state == State::Success).count())
    }

    /// All tasks have ended, however.
    ///
    /// # Errors
    /// As [`completed_count`](Self::completed_count).
    pub async fn ready(&self) -> Result<bool, GetError> {
        Ok(self.states().await?.iter().all(State::is_ready))
    }

    /// Some task has not ended.
    ///
    /// # Errors
    /// As [`completed_count`](Self::completed_count).
    pub async fn waiting(&self) -> Result<bool, GetError> {
        Ok(!self.ready().await?)
    }

    /// All tasks have succeeded.
    ///
    /// # Errors
    /// As [`completed_count`](Self::completed_count).
    pub async fn successful(&self) -> Result<bool, GetError> {
        Ok(self.states().await?.iter().all(|state| *state == State::Success))
    }

    /// Some task has failed.
    ///
    /// # Errors
    /// As [`completed_count`](Self::completed_count).
    pub async fn failed(&self) -> Result<bool, GetError> {
        Ok(self.states().await?.contains(&State::Failure))
    }

    /// Tells all workers to drop the tasks of the group instead of beginning them. Those that run go on.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn revoke(&self) -> Result<(), BrokerError> {
        self.tell(Command::revoke(self.ids())).await
    }

    /// Tells all workers to drop the tasks of the group, and to end those that run.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn terminate(&self) -> Result<(), BrokerError> {
        self.tell(Command::terminate(self.ids())).await
    }

    /// Stores which tasks the group has, so that others can [restore](crate::App::restore_group) it by its id.
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn save(&self) -> Result<(), GetError> {
        Ok(self.app.backend().save_group(self.id(), &write(&self.tuple)).await?)
    }

    /// Removes what [`save`](Self::save) has stored; the results of the tasks stay (Celery's `delete`).
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn delete(&self) -> Result<(), GetError> {
        Ok(self.app.backend().forget_group(self.id()).await?)
    }

    /// Removes what is stored of the group and of its tasks.
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn forget(&self) -> Result<(), GetError> {
        for id in self.ids() {
            self.app.backend().forget(id).await?;
        }
        self.delete().await
    }

    /// Reads a group that was stored.
    pub(crate) async fn restore(id: &str, app: &App) -> Result<Option<Self>, GetError> {
        let Some(text) = app.backend().group(id).await? else { return Ok(None) };
        let tuple = read(&text).ok_or_else(|| GetError::Unreadable {
            id: id.to_owned(),
            reason: "what is stored is no group".to_owned(),
        })?;
        Ok(Some(Self { tuple, app: app.clone() }))
    }

    fn ids(&self) -> Vec<&str> {
        let mut ids = Vec::new();
        leaves(&self.tuple, &mut ids);
        ids
    }

    async fn states(&self) -> Result<Vec<State>, GetError> {
        let results = self.results::<()>();
        try_join_all(results.iter().map(AsyncResult::state)).await
    }

    async fn tell(&self, command: Command) -> Result<(), BrokerError> {
        Client::new(Arc::clone(self.app.broker())).cast(command).await
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

/// The group as it is stored.
pub(crate) fn write(group: &ResultTuple) -> String {
    let mut text = br#"{"result": "#.to_vec();
    group.write(&mut text);
    text.push(b'}');
    String::from_utf8(text).expect("JSON is written as UTF-8")
}

/// The values of the tasks of a result, as text.
fn nested(result: &ResultTuple, values: &mut impl Iterator<Item = RawJson>) -> Vec<u8> {
    let Some(children) = &result.children else {
        return values.next().unwrap_or(RawJson::NULL).as_bytes().to_vec();
    };
    let children: Vec<_> = children.iter().map(|child| nested(child, values)).collect();
    [b"[", children.join(&b","[..]).as_slice(), b"]"].concat()
}
