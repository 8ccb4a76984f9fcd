//! What follows from the end of a task: what is stored, sent again, announced, and what becomes of its message. Pure.
//!
//! The rules are those of `celery/worker/request.py` and `celery/app/trace.py`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::attempts::{DELIVERY_COUNT, FORMER_DELIVERIES};
use crate::broker::Publication;
use crate::context::{Request, soft_time_limit_exceeded};
use crate::protocol::{Extended, RawJson, ResultMeta, ResultTuple, Revocation, TaskMessage, repr};
use crate::task::{Failure, TaskError, TaskOptions};

/// How a task ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Succeeded {
        result: RawJson,
        runtime: Duration,
    },
    /// The body's value is too large to be stored; so the task has failed.
    TooLarge(Failure),
    /// The body did not answer with a value.
    Answered(TaskError),
    /// The body was dropped at its soft time limit.
    SoftTimeLimit,
    /// The body was dropped at this, its hard time limit.
    TimeLimit(Duration),
    Revoked(Revocation),
    /// The body was dropped because the worker does not wait for it any longer.
    Cancelled,
    /// No task of this name is known here.
    Unknown,
    /// Its success was stored when it was delivered before.
    Deduplicated,
    /// It was delivered so often before, and its task came to no end.
    Poison {
        deliveries: u32,
    },
}

/// The end of one task and all that matters for what follows.
pub(crate) struct Case<'a> {
    pub(crate) request: &'a Request,
    /// `None` for a task that is not known here.
    pub(crate) options: Option<&'a TaskOptions>,
    /// The tasks that the body has sent.
    pub(crate) children: Vec<ResultTuple>,
    /// Its message was acknowledged when it began.
    pub(crate) is_acknowledged: bool,
    /// The signal that it was terminated with.
    pub(crate) signal: Option<i32>,
    /// Store more about the task (`result_extended`).
    pub(crate) extended: bool,
    pub(crate) now: DateTime<Utc>,
    /// Drawn evenly from 0 to 1, for the jitter of a retry.
    pub(crate) random: f64,
}

/// What follows.
#[derive(Debug, PartialEq)]
pub(crate) struct Conclusion {
    pub(crate) meta: Option<ResultMeta>,
    /// To be published before the message is settled.
    pub(crate) retry: Option<TaskMessage>,
    /// Likewise: the message as it is to be parked.
    pub(crate) parked: Option<Box<Publication>>,
    pub(crate) verdict: Verdict,
    pub(crate) report: Report,
}

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Acknowledge,
    Reject {
        requeue: bool,
    },
    /// It is settled already.
    None,
}

/// What is announced.
#[derive(Debug, PartialEq)]
pub(crate) enum Report {
    Succeeded {
        result: RawJson,
        runtime: Duration,
    },
    Failed(Failure),
    Retried(Failure),
    Revoked {
        why: Revocation,
        signal: Option<i32>,
    },
    Cancelled,
    /// A task that is not known here; nothing else was announced of it.
    Unknown(Failure),
    Nothing,
}

impl Conclusion {
    /// The message goes to the parking queue instead of being rejected.
    pub(crate) fn park(mut self, parked: Box<Publication>) -> Self {
        self.parked = Some(parked);
        self.verdict = Verdict::Acknowledge;
        self
    }
}

impl Case<'_> {
    pub(crate) fn conclude(self, outcome: Outcome) -> Conclusion {
        match outcome {
            Outcome::Succeeded { result, runtime } => self.succeeded(result, runtime),
            Outcome::Answered(TaskError::Fail(failure)) | Outcome::TooLarge(failure) => self.failed(failure),
            Outcome::Answered(TaskError::Unexpected(failure)) => {
                if self.options().autoretry {
                    self.retried(None, failure)
                } else {
                    self.failed(failure)
                }
            }
            Outcome::Answered(TaskError::Retry { after, cause }) => self.retried(after, cause),
            Outcome::Answered(TaskError::Reject { requeue, reason }) => self.rejected(requeue, &reason),
            Outcome::Answered(TaskError::Ignore) | Outcome::Deduplicated => {
                self.conclusion(None, Verdict::Acknowledge, Report::Nothing)
            }
            Outcome::SoftTimeLimit => self.failed(soft_time_limit_exceeded()),
            Outcome::TimeLimit(limit) => self.timed_out(limit),
            Outcome::Revoked(why) => self.revoked(why),
            Outcome::Cancelled => self.cancelled(),
            Outcome::Unknown => self.unknown(),
            Outcome::Poison { deliveries } => self.poison(deliveries),
        }
    }

    fn succeeded(self, result: RawJson, runtime: Duration) -> Conclusion {
        let meta = (!self.ignores_result()).then(|| {
            let meta = ResultMeta::new(self.request.id.clone(), crate::protocol::State::Success, result.clone());
            self.described(ResultMeta { date_done: Some(self.now), ..meta })
        });
        self.conclusion(meta, Verdict::Acknowledge, Report::Succeeded { result, runtime })
    }

    fn failed(self, failure: Failure) -> Conclusion {
        // Not done, but it would fail the next time too.
        let verdict = self.verdict_on_failure(self.options().acknowledges_failure(), false);
        self.failure(failure, verdict)
    }

    fn timed_out(self, limit: Duration) -> Conclusion {
        // It may be in time the next time.
        let verdict = self.verdict_on_failure(self.options().acknowledges_timeout(), true);
        self.failure(time_limit_exceeded(limit), verdict)
    }

    fn verdict_on_failure(&self, acknowledges: bool, requeue: bool) -> Verdict {
        if self.options().acks_late && !acknowledges { Verdict::Reject { requeue } } else { Verdict::Acknowledge }
    }

    fn failure(self, failure: Failure, verdict: Verdict) -> Conclusion {
        let meta = self.stores_errors().then(|| {
            let meta = ResultMeta::failure(self.request.id.clone(), &failure, self.now);
            self.described(meta)
        });
        self.conclusion(meta, verdict, Report::Failed(failure))
    }

    fn retried(mut self, after: Option<Duration>, cause: Failure) -> Conclusion {
        let options = self.options();
        let request = self.request;
        if !options.may_retry(request.retries) {
            return self.failed(cause);
        }
        let delay = after.unwrap_or_else(|| options.retry_delay(request.retries, self.random));
        // Measured: a task that is retried becomes its own child and its own parent.
        self.children.push(ResultTuple::task(request.id.clone()));
        let meta = self.stores_errors().then(|| self.described(ResultMeta::retry(request.id.clone(), &cause)));
        let retry = again(&request.message, delay, self.now);
        Conclusion { retry: Some(retry), ..self.conclusion(meta, Verdict::Acknowledge, Report::Retried(cause)) }
    }

    fn rejected(self, requeue: bool, reason: &str) -> Conclusion {
        let verdict = Verdict::Reject { requeue };
        if requeue {
            return self.conclusion(None, verdict, Report::Nothing);
        }
        let failure = Failure::celery("Reject", [serde_json::Value::from(reason), requeue.into()]);
        self.failure(failure, verdict)
    }

    fn revoked(self, why: Revocation) -> Conclusion {
        let signal = self.signal.filter(|_| why == Revocation::Terminated);
        let meta =
            self.stores_errors().then(|| self.described(ResultMeta::revoked(self.request.id.clone(), why, self.now)));
        self.conclusion(meta, Verdict::Acknowledge, Report::Revoked { why, signal })
    }

    /// Another worker runs it, unless its message is gone: then Celery says that it is to be tried again.
    fn cancelled(self) -> Conclusion {
        let meta = (self.is_acknowledged && self.stores_errors()).then(|| {
            let cause = Failure::celery("Retry", ["the worker was stopped"]);
            self.described(ResultMeta::retry(self.request.id.clone(), &cause))
        });
        self.conclusion(meta, Verdict::Reject { requeue: true }, Report::Cancelled)
    }

    /// However much is stored about tasks, Celery knows nothing about one that is not registered.
    fn unknown(self) -> Conclusion {
        let failure = Failure::celery("NotRegistered", [self.request.task.clone()]);
        let extended = self.extended.then(Box::default);
        let conclusion = Self { extended: false, ..self }.failure(failure.clone(), Verdict::Reject { requeue: false });
        let meta = conclusion.meta.map(|meta| ResultMeta { extended, ..meta });
        Conclusion { meta, report: Report::Unknown(failure), ..conclusion }
    }

    /// As Celery tells it when the process of a task has died (`billiard.exceptions`), which here nobody is left to tell.
    fn poison(self, deliveries: u32) -> Conclusion {
        let message = format!("delivered {deliveries} times, and no worker could tell of its end: it is parked");
        let failure = Failure::new("WorkerLostError", [message]).with_module("billiard.exceptions");
        self.failure(failure, Verdict::Reject { requeue: false })
    }

    fn conclusion(&self, meta: Option<ResultMeta>, verdict: Verdict, report: Report) -> Conclusion {
        let verdict = if self.is_acknowledged { Verdict::None } else { verdict };
        Conclusion { meta, retry: None, parked: None, verdict, report }
    }

    fn options(&self) -> &TaskOptions {
        const UNKNOWN: TaskOptions = TaskOptions::DEFAULT;
        self.options.unwrap_or(&UNKNOWN)
    }

    fn ignores_result(&self) -> bool {
        self.request.ignore_result.unwrap_or(self.options().ignore_result)
    }

    fn stores_errors(&self) -> bool {
        !self.ignores_result() || self.options().store_errors_even_if_ignored
    }

    fn described(&self, meta: ResultMeta) -> ResultMeta {
        describe(meta, self.request, self.children.clone(), self.extended)
    }
}

/// Adds to metadata what is known about the task (`celery/backends/base.py`, `_get_result_meta`).
pub(crate) fn describe(meta: ResultMeta, request: &Request, children: Vec<ResultTuple>, extended: bool) -> ResultMeta {
    ResultMeta {
        children: Some(children),
        group_id: request.group.clone(),
        parent_id: request.parent_id.clone(),
        extended: extended.then(|| Box::new(extended_of(request))),
        ..meta
    }
}

fn extended_of(request: &Request) -> Extended {
    let stamp = |name: &String| {
        let value = request.stamps.get(name)?;
        Some((name.clone(), stamp_json(value)))
    };
    Extended {
        name: Some(request.task.clone()),
        args: Some(visible(request.argsrepr.as_deref(), &request.args)),
        kwargs: Some(visible(request.kwargsrepr.as_deref(), &request.kwargs)),
        worker: Some(request.hostname.to_string()),
        retries: Some(request.retries),
        queue: Some(request.delivery_info.routing_key.clone()),
        stamped_headers: request.stamped_headers.clone(),
        stamps: request.stamped_headers.iter().flatten().filter_map(stamp).collect(),
    }
}

/// Arguments as operators may see them.
fn visible(shown: Option<&str>, arguments: &RawJson) -> RawJson {
    let mut text = Vec::new();
    repr::visible(shown, arguments).write(&mut text);
    RawJson::parse(text).unwrap_or(RawJson::NULL)
}

/// A stamp as JSON; stamps are text, numbers or lists of those.
fn stamp_json(value: &crate::protocol::Value) -> RawJson {
    use crate::protocol::Value;
    fn tree(value: &Value) -> serde_json::Value {
        match value {
            Value::Bool(flag) => (*flag).into(),
            Value::Int(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Str(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(tree).collect(),
            Value::Table(table) => table.iter().map(|(name, value)| (name.to_owned(), tree(value))).collect(),
            _ => serde_json::Value::Null,
        }
    }
    RawJson::of(&tree(value)).unwrap_or(RawJson::NULL)
}

/// The message of a retry: the same task, counted up, later, its own parent (`celery/app/task.py`, `retry`).
fn again(message: &TaskMessage, delay: Duration, now: DateTime<Utc>) -> TaskMessage {
    let mut retry = message.clone();
    let later = TimeDelta::from_std(delay).unwrap_or(TimeDelta::days(36_500));
    retry.retries += 1;
    // What the broker has counted is not of this message.
    retry.headers.retain(|name| ![DELIVERY_COUNT, FORMER_DELIVERIES].contains(&name));
    // A countdown of zero is none (`celery/app/amqp.py`, `as_task_v2`).
    retry.eta = if delay.is_zero() { None } else { now.checked_add_signed(later).map(|eta| eta.fixed_offset()) };
    retry.countdown = Some(delay);
    retry.parent_id = Some(message.id.clone());
    if let Some(expires) = message.expires {
        retry.expire_at(expires.to_utc(), now);
    }
    retry
}

/// As Celery stores it (`billiard.exceptions`): whole seconds as an integer.
fn time_limit_exceeded(limit: Duration) -> Failure {
    let seconds: serde_json::Value =
        if limit.subsec_nanos() == 0 { limit.as_secs().into() } else { limit.as_secs_f64().into() };
    Failure::new("TimeLimitExceeded", [seconds]).with_module("billiard.exceptions")
}

#[cfg(test)]
mod tests;
