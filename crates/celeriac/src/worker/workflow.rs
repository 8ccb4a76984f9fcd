//! What follows from the end of a task that belongs to a workflow: its callbacks, the next step of its chain, its part in
//! a chord; after a failure its errbacks, and the failure of all that can never run.
//!
//! The order makes that nothing is lost if the worker dies anywhere in between, for the message is acknowledged last and
//! comes again: what follows is published and confirmed, then the result is stored (it names its children), then the
//! chord gets its part. Done twice, everything has the same ids.

mod chord;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::awaited::Backoff;
use super::channel::Channel;
use super::conclusion::{Conclusion, Report, Verdict};
use super::hooks::tell_unstored;
use super::live::stored;
use super::run::Run;
use super::settle::Settlement;
use super::settle::storing::{Blame, store_failure, store_one};
use super::shared::Shared;
use crate::app::{Prepared, SendError};
use crate::backend::{BackendError, ChordPart, StoredResult};
use crate::broker::{BrokerError, DeliveryTag};
use crate::canvas::{Broken, CanvasError, Parent, Plan, Publisher, Signature, after_failure, after_success};
use crate::context::Request;
use crate::protocol::trace::pass_on;
use crate::protocol::{RawJson, ResultMeta, ResultTuple, Revocation, State, TaskMessage};
use crate::task::Failure;

/// How long a cold shutdown leaves for what is being published.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A task of a workflow that has ended.
pub(super) struct Ending<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) channel: &'a Channel,
    pub(super) request: &'a Request,
    /// `None` if it was never begun.
    pub(super) run: Option<&'a Arc<Run>>,
    pub(super) tag: DeliveryTag,
    pub(super) is_announced: bool,
    /// What the task has sent until now.
    children: Mutex<Vec<ResultTuple>>,
}

/// The task as the parent of what it sends.
pub(super) fn parent(task: &TaskMessage) -> Parent {
    let root_id = task.root_id.clone().filter(|root_id| !root_id.is_empty()).unwrap_or_else(|| task.id.clone());
    Parent { id: task.id.clone(), root_id }
}

impl<'a> Ending<'a> {
    /// That of a task which runs, or did.
    pub(super) fn of(run: &'a Arc<Run>) -> Self {
        let Run { request, is_announced, .. } = &**run;
        let ending = Self::new(run.shared(), &run.channel, request, Some(run), run.tag(), *is_announced);
        *ending.children.lock() = run.children();
        ending
    }

    pub(super) fn new(
        shared: &'a Arc<Shared>,
        channel: &'a Channel,
        request: &'a Request,
        run: Option<&'a Arc<Run>>,
        tag: DeliveryTag,
        is_announced: bool,
    ) -> Self {
        Self { shared, channel, request, run, tag, is_announced, children: Mutex::default() }
    }

    /// Does what follows, then lets the message be settled. Boxed, so that tasks without a workflow do not carry the
    /// room for it.
    pub(super) fn settle(self, conclusion: Conclusion) -> BoxFuture<'a, ()> {
        Box::pin(self.followed(conclusion))
    }

    async fn followed(self, mut conclusion: Conclusion) {
        let given_up = async {
            self.shared.abandon.cancelled().await;
            sleep(LAST_WORDS).await;
        };
        tokio::select! {
            biased;
            () = self.follow(&mut conclusion) => {}
            () = given_up => {
                tracing::warn!(task = self.request.task, id = self.request.id, "its workflow goes on when it is delivered again");
                return;
            }
        }
        self.channel.settle(Settlement::of(conclusion, self.request, self.run, self.tag, self.is_announced));
    }

    async fn follow(&self, conclusion: &mut Conclusion) {
        if let Report::Succeeded { result, .. } = &conclusion.report {
            match self.go_on(result).await {
                Ok(children) => add_children(&mut conclusion.meta, children),
                Err(failure) => fail(conclusion, failure),
            }
        }
        let meta = conclusion.meta.take();
        if let Some(children) = meta.as_ref().and_then(|meta| meta.children.as_ref()) {
            self.children.lock().clone_from(children);
        }
        if let Some(meta) = &meta
            && let Err(error) = store_one(self.shared, &stored(meta)).await
            && let Some(failure) = store_failure(self.shared, &stored(meta), &error).await
        {
            if self.run.is_some() {
                tell_unstored(&self.shared.hooks, self.request, &failure);
            }
            if matches!(conclusion.report, Report::Succeeded { .. }) {
                // What follows from the success is on its way; a chord is not to wait for it.
                self.part(State::Failure, ResultMeta::failure("", &failure, crate::clock::now()).result).await;
                conclusion.report = Report::Failed(failure);
                return;
            }
        }
        // What runs again has not ended yet.
        if conclusion.verdict == (Verdict::Reject { requeue: true }) {
            return;
        }
        match &conclusion.report {
            Report::Succeeded { result, .. } => self.part(State::Success, result.clone()).await,
            Report::Failed(failure) | Report::Unknown(failure) => self.break_off(failure).await,
            Report::Revoked { .. } => {
                let revoked = || ResultMeta::revoked("", Revocation::Revoked, crate::clock::now());
                self.part(State::Revoked, meta.unwrap_or_else(revoked).result).await;
            }
            Report::Retried(_) | Report::Cancelled | Report::Nothing => {}
        }
    }

    /// Publishes what comes after a success; answers the children.
    async fn go_on(&self, result: &RawJson) -> Result<Vec<ResultTuple>, Failure> {
        let plan = self.plan("success", |publisher| after_success(self.request, &result.to_tree(), publisher));
        let plan = plan.map_err(|error| Failure::from_error(&error))?;
        self.carry_out(&plan).await?;
        Ok(plan.children)
    }

    /// Hands in the task's own part, if a chord waits for it.
    pub(super) async fn part(&self, state: State, result: RawJson) {
        if let (Some(body), Some(group_id)) = (&self.request.embed.chord, &self.request.group) {
            let part = ChordPart {
                group_id: group_id.clone(),
                task_id: self.request.id.clone(),
                group_index: self.request.group_index,
                state,
                result,
            };
            self.hand_in(part, body).await;
        }
    }

    /// The task has failed: so have those that would have followed.
    async fn break_off(&self, failure: &Failure) {
        self.part(State::Failure, ResultMeta::failure("", failure, crate::clock::now()).result).await;
        let broken = self.plan("failure", |publisher| {
            after_failure(self.request, publisher).or_else(|error| {
                tracing::error!(id = self.request.id, %error, "errbacks cannot be sent");
                let mut task = self.request.message.clone();
                task.embed.errbacks = None;
                after_failure(&task, publisher)
            })
        });
        match broken {
            Ok(broken) => self.bring_down(broken, failure).await,
            Err(error) => tracing::error!(id = self.request.id, %error, "the rest of the chain cannot be failed"),
        }
    }

    /// Stores the failure of everything that will never run, tells the chords that wait for it, and sends errbacks.
    ///
    /// The body of a chord is failed by this task, so what this task has sent until then are its children: its errbacks
    /// among them (`celery/backends/base.py`, `current_task_children`).
    async fn bring_down(&self, broken: Broken, failure: &Failure) {
        let now = crate::clock::now();
        let metas = self.failures(&broken, failure, now);
        for meta in &metas {
            if let Err(error) = store_one(self.shared, meta).await {
                store_failure(self.shared, meta, &error).await;
            }
        }
        for step in broken.failed {
            if let (Some(task_id), Some(group_id), Some(body)) = (step.task_id, step.group_id, step.chord) {
                let result = ResultMeta::failure("", failure, now).result;
                let group_index = step.group_index;
                let part = ChordPart { group_id, task_id, group_index, state: State::Failure, result };
                self.hand_in(part, &body).await;
            }
        }
        if let Err(failure) = self.carry_out(&broken.plan).await {
            tracing::error!(id = self.request.id, error = failure.repr(), "errbacks not sent");
        }
    }

    fn failures(&self, broken: &Broken, failure: &Failure, now: DateTime<Utc>) -> Vec<StoredResult> {
        let mut sent = self.children.lock();
        let mut errbacks = broken.plan.children.iter().cloned();
        let mut metas = Vec::with_capacity(broken.failed.len());
        for step in &broken.failed {
            sent.extend(errbacks.by_ref().take(step.errbacks));
            let Some(task_id) = step.task_id.clone() else { continue };
            let meta = ResultMeta::failure(task_id, failure, now);
            metas.push(stored(&if step.is_body {
                ResultMeta { children: Some(sent.clone()), ..meta }
            } else {
                ResultMeta { group_id: step.group_id.clone(), ..meta }
            }));
        }
        sent.extend(errbacks);
        metas
    }

    /// Asks what to publish. The ids that are made for it follow from the task and the occasion, so that a task that is
    /// run again publishes the same again.
    fn plan<T>(
        &self,
        occasion: &str,
        ask: impl FnOnce(&mut Publisher<'_>) -> Result<T, CanvasError>,
    ) -> Result<T, CanvasError> {
        let mut count = 0_usize;
        let mut new_id = || {
            count += 1;
            let name = format!("{}:{occasion}:{count}", self.request.id);
            Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string()
        };
        let known = |name: &str| self.shared.registry.get(name).map(|task| task.known());
        ask(&mut self.shared.app.publisher(&mut new_id, &known, Some(parent(self.request))))
    }

    /// Publishes a plan, however long broker and result backend cannot be reached.
    ///
    /// # Errors
    /// It can never be published.
    async fn carry_out(&self, plan: &Plan) -> Result<(), Failure> {
        if plan.steps.is_empty() {
            return Ok(());
        }
        let Prepared { groups, chords, mut publications } = self.prepare(plan).await?;
        let backend = self.shared.app.backend();
        for (id, group) in &groups {
            self.ask(|| backend.save_group(id, group)).await.map_err(|error| Failure::from_error(&error))?;
        }
        for chord in &chords {
            self.ask(|| backend.begin_chord(&chord.group_id, chord.size))
                .await
                .map_err(|error| Failure::from_error(&error))?;
        }
        let mut backoff = Backoff::new(&self.shared.vitals.broker);
        loop {
            let confirmations = self.shared.app.broker().publish_batch(publications.clone()).await;
            let mut unconfirmed = Vec::new();
            let mut problem = None;
            for (publication, confirmation) in publications.into_iter().zip(confirmations) {
                match confirmation {
                    Ok(()) => {}
                    Err(error @ (BrokerError::Timeout { .. } | BrokerError::Closed { .. })) => {
                        unconfirmed.push(publication);
                        problem = Some(error);
                    }
                    Err(error) => return Err(Failure::from_error(&error)),
                }
            }
            publications = unconfirmed;
            match problem {
                None => {
                    backoff.over();
                    return Ok(());
                }
                Some(error) => backoff.wait(&error).await,
            }
        }
    }

    async fn prepare(&self, plan: &Plan) -> Result<Prepared, Failure> {
        let mut backoff = Backoff::new(&self.shared.vitals.broker);
        loop {
            match self.shared.app.prepare_plan(plan).await {
                Ok(mut prepared) => {
                    prepared.trace(|headers| match self.run {
                        Some(run) => run.pass_on_trace(headers),
                        None => {
                            pass_on(&self.request.headers, headers);
                        }
                    });
                    return Ok(prepared);
                }
                Err(error @ (SendError::Timeout { .. } | SendError::Unavailable { .. })) => {
                    backoff.wait(&error).await;
                }
                Err(error) => return Err(Failure::from_error(&error)),
            }
        }
    }

    /// Asks the result backend until it answers.
    ///
    /// # Errors
    /// It refuses for good.
    async fn ask<'q, T>(
        &self,
        question: impl Fn() -> BoxFuture<'q, Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        let mut backoff = Backoff::new(&self.shared.vitals.backend);
        let mut blame = Blame::default();
        loop {
            let asked = Instant::now();
            match question().await {
                Ok(answer) => {
                    backoff.over();
                    return Ok(answer);
                }
                Err(error @ BackendError::Refused { .. }) => return Err(error),
                Err(error) if blame.falls_on_the_question(&**self.shared.app.backend(), asked).await => {
                    return Err(error);
                }
                Err(error) => backoff.wait(&error).await,
            }
        }
    }
}

fn add_children(meta: &mut Option<ResultMeta>, children: Vec<ResultTuple>) {
    if let Some(meta) = meta {
        meta.children.get_or_insert_default().extend(children);
    }
}

/// What cannot be continued has failed.
fn fail(conclusion: &mut Conclusion, failure: Failure) {
    tracing::error!(error = failure.repr(), "the workflow cannot go on");
    if let Some(meta) = &mut conclusion.meta {
        let failed = ResultMeta::failure("", &failure, crate::clock::now());
        meta.state = failed.state;
        meta.result = failed.result;
        meta.date_done = failed.date_done;
    }
    conclusion.report = Report::Failed(failure);
}
