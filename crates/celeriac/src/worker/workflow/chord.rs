//! The end of a chord: the worker that has its last part joins the results and sends the body.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Broken, Ending, Failure, Signature};
use crate::backend::{ChordPart, ChordProgress, CompleteChord};
use crate::canvas::{FailedStep, chord_failed, chord_ready};
use crate::protocol::{Json, RawJson, ResultMeta, ResultTuple, State};
use crate::result::{GetError, read_group};

/// How often to look whether a chord that another worker has claimed is done.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long to wait for a result that is no part of the chord (`result_chord_join_timeout`). A worker of Celery 5.5 counts
/// groups in headers too low, so that not all are there when the parts are.
const JOIN_WITHIN: Duration = Duration::from_secs(3);

/// Why a chord has failed.
type Broke = Box<Breach>;

struct Breach {
    /// What its body is told.
    error: Failure,
    /// How the task of the header failed.
    cause: Option<Failure>,
}

impl Breach {
    /// As it is told of a header with groups in it: the failure itself, not whose it is.
    fn of_join(self: Box<Self>) -> Box<Self> {
        match &self.cause {
            Some(cause) => Box::new(Self { error: chord_error(format!("Join error: {}", cause.repr())), cause: None }),
            None => self,
        }
    }
}

impl Ending<'_> {
    /// Hands in a part; with the last one the chord goes on.
    pub(super) fn hand_in<'b>(&'b self, part: ChordPart, body: &'b Signature) -> BoxFuture<'b, ()> {
        Box::pin(self.handed_in(part, body))
    }

    async fn handed_in(&self, mut part: ChordPart, body: &Signature) {
        let backend = self.shared.app.backend();
        let token = Uuid::new_v4().simple().to_string();
        loop {
            match self.ask(|| backend.chord_part(&part, &token)).await {
                Ok(ChordProgress::Open) => return,
                Ok(ChordProgress::Claimed) => sleep(LOOK_EVERY).await,
                Ok(ChordProgress::Complete(chord)) => return self.complete(&part.group_id, &token, chord, body).await,
                // That it has failed may be shorter than its result.
                Err(error) if part.state == State::Success => {
                    tracing::error!(id = part.task_id, group_id = part.group_id, %error, "the part of a chord is refused");
                    let failed = ResultMeta::failure("", &Failure::from_error(&error), crate::clock::now());
                    (part.state, part.result) = (failed.state, failed.result);
                }
                // Nobody would ever count it.
                Err(error) => {
                    let raised = Failure::from_error(&error).repr();
                    let error = chord_error(format!("Dependency {} raised {raised}", part.task_id));
                    self.break_chord(body, Box::new(Breach { error, cause: None })).await;
                    let _ = self.ask(|| backend.fail_chord(&part.group_id)).await;
                    return;
                }
            }
        }
    }

    async fn complete(&self, group_id: &str, token: &str, chord: CompleteChord, body: &Signature) {
        let backend = self.shared.app.backend();
        let is_nested = chord.group.is_some();
        let results = match self.join(chord).await {
            Ok(results) => results,
            Err(broke) => {
                // Celery joins what is nested as a client does (`celery/backends/redis.py`, `on_chord_part_return`).
                let broke = if is_nested { broke.of_join() } else { broke };
                self.break_chord(body, broke).await;
                // The parts stay; without its size the chord can not fail a second time.
                let _ = self.ask(|| backend.fail_chord(group_id)).await;
                return;
            }
        };
        if !matches!(self.ask(|| backend.extend_chord(group_id, token)).await, Ok(true)) {
            tracing::warn!(group_id, "another worker has taken over the chord");
            return;
        }
        self.go_to_body(group_id, body, results).await;
        let _ = self.ask(|| backend.end_chord(group_id, token)).await;
    }

    /// The end of a chord whose parts nobody counts (`celery.chord_unlock`): they are all there.
    pub(in crate::worker) async fn unlock(&self, group_id: &str, chord: CompleteChord, body: &Signature) {
        match self.join(chord).await {
            Ok(results) => self.go_to_body(group_id, body, results).await,
            Err(broke) => self.break_chord(body, broke).await,
        }
    }

    /// Nobody will look for the parts of a chord any longer.
    pub(in crate::worker) async fn give_up(&self, body: &Signature, why: String) {
        self.break_chord(body, Box::new(Breach { error: chord_error(why), cause: None })).await;
    }

    async fn go_to_body(&self, group_id: &str, body: &Signature, results: Vec<Json>) {
        if let Err(error) = self.send_body(group_id, body, results).await {
            let error = chord_error(format!("Callback error: {}", error.repr()));
            self.break_chord(body, Box::new(Breach { error, cause: None })).await;
        }
    }

    async fn send_body(&self, group_id: &str, body: &Signature, results: Vec<Json>) -> Result<(), Failure> {
        let plan = self.plan(group_id, |publisher| chord_ready(body, results, publisher));
        self.carry_out(&plan.map_err(|error| Failure::from_error(&error))?).await
    }

    /// The results in the order of the header, nested as it is.
    async fn join(&self, chord: CompleteChord) -> Result<Vec<Json>, Broke> {
        let parts: Vec<_> = chord.parts.iter().filter_map(|part| ChordPart::read(part)).collect();
        let group = chord.group.as_deref().and_then(read_group).and_then(|group| group.children);
        let Some(members) = group else {
            return parts.into_iter().map(|(task_id, state, result)| value(&task_id, state, &result)).collect();
        };
        let parts = parts.into_iter().map(|(task_id, state, result)| (task_id, (state, result))).collect();
        let mut results = Vec::with_capacity(members.len());
        for member in &members {
            results.push(self.nested(member, &parts).await?);
        }
        Ok(results)
    }

    fn nested<'a>(
        &'a self,
        member: &'a ResultTuple,
        parts: &'a HashMap<String, (State, RawJson)>,
    ) -> BoxFuture<'a, Result<Json, Broke>> {
        Box::pin(async move {
            if let Some(children) = &member.children {
                let mut results = Vec::with_capacity(children.len());
                for child in children {
                    results.push(self.nested(child, parts).await?);
                }
                return Ok(Json::List(results));
            }
            let (state, result) = match parts.get(&member.id) {
                Some(part) => part.clone(),
                None => self.awaited(&member.id).await.ok_or_else(|| {
                    let error = chord_error("Join error: TimeoutError('The operation timed out.')".to_owned());
                    Box::new(Breach { error, cause: None })
                })?,
            };
            value(&member.id, state, &result)
        })
    }

    /// A result that is no part of the chord, if it is there in time.
    async fn awaited(&self, id: &str) -> Option<(State, RawJson)> {
        if let Some(stored) = self.stored(id).await {
            return Some(stored);
        }
        let ended = async {
            let mut watch = self.shared.app.result::<()>(id).watch().await?;
            while !watch.changed().await?.state.is_ready() {}
            Ok::<_, GetError>(())
        };
        // Trouble of the backend is no answer: that is waited for below, for as long as it takes.
        let _ = timeout(JOIN_WITHIN, ended).await;
        self.stored(id).await
    }

    async fn stored(&self, id: &str) -> Option<(State, RawJson)> {
        let stored = self.ask(|| self.shared.app.backend().get(id)).await.ok()??;
        let meta = ResultMeta::from_json(&stored).ok()?;
        meta.state.is_ready().then_some((meta.state, meta.result))
    }

    /// Fails the body of a chord and all that would have followed it.
    async fn break_chord(&self, body: &Signature, broke: Broke) {
        let Breach { error, cause } = *broke;
        tracing::error!(body = body.task, id = body.task_id(), error = error.repr(), "chord failed");
        let broken = self.plan("chord", |publisher| chord_failed(body, publisher)).unwrap_or_else(|unreadable| {
            tracing::error!(id = body.task_id(), error = %unreadable, "what follows the chord cannot be told");
            let step = FailedStep {
                task_id: body.task_id().map(str::to_owned),
                group_id: None,
                group_index: None,
                chord: None,
                is_body: true,
                errbacks: 0,
            };
            Broken { failed: vec![step], ..Broken::default() }
        });
        // The tasks of a body that is a group fail with the cause itself.
        let is_group = body.subtask_type.as_deref() == Some("group");
        let failure = cause.filter(|_| is_group).unwrap_or(error);
        self.bring_down(broken, &failure).await;
    }
}

/// The value of a part, or how it makes the chord fail.
fn value(task_id: &str, state: State, result: &RawJson) -> Result<Json, Broke> {
    if !matches!(state, State::Failure | State::Revoked) {
        return Ok(result.to_tree());
    }
    let cause = ResultMeta::new(task_id, state, result.clone()).exception_info();
    let raised = cause.as_ref().map(Failure::repr).unwrap_or_default();
    Err(Box::new(Breach { error: chord_error(format!("Dependency {task_id} raised {raised}")), cause }))
}

fn chord_error(message: String) -> Failure {
    Failure::celery("ChordError", [message])
}
