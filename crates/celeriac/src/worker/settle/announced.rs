//! What is announced about the end of a task.

use crate::protocol::event::EventBody;
use crate::protocol::{Json, Revocation, repr};
use crate::task::Failure;
use crate::worker::conclusion::{Report, Verdict};

/// The events that tell of it, in their order.
pub(super) fn events(report: Report, verdict: Verdict, id: &str) -> Vec<EventBody<'static>> {
    let uuid = || id.to_owned().into();
    let trace = |failure: &Failure| failure.traceback.clone().unwrap_or_default().into();
    let is_rejected_silently = matches!(report, Report::Unknown(_) | Report::Cancelled);
    let mut events = Vec::with_capacity(1);
    match report {
        Report::Succeeded { result, runtime } => events.push(EventBody::TaskSucceeded {
            uuid: uuid(),
            result: repr::value(&result).into(),
            runtime: runtime.as_secs_f64(),
        }),
        Report::Failed(failure) => events.push(EventBody::TaskFailed {
            uuid: uuid(),
            exception: repr_of(&failure).into(),
            traceback: Some(trace(&failure)),
        }),
        Report::Unknown(failure) => {
            events.push(EventBody::TaskFailed { uuid: uuid(), exception: repr_of(&failure).into(), traceback: None });
        }
        Report::Retried(cause) => events.push(EventBody::TaskRetried {
            uuid: uuid(),
            exception: repr_of(&cause).into(),
            traceback: Some(trace(&cause)),
        }),
        Report::Revoked { why, signal } => events.push(EventBody::TaskRevoked {
            uuid: uuid(),
            terminated: why == Revocation::Terminated,
            signum: signal.map_or(Json::Null, |signal| Json::Int(signal.into())),
            expired: why == Revocation::Expired,
        }),
        Report::Cancelled => events.push(EventBody::TaskCancelled { uuid: uuid() }),
        Report::Nothing => {}
    }
    if let Verdict::Reject { requeue } = verdict
        && !is_rejected_silently
    {
        events.push(EventBody::TaskRejected { uuid: uuid(), requeue });
    }
    events
}

/// A failure as Python shows the exception: `ValueError('boom')`. Celery's `Reject` has a way of its own.
fn repr_of(failure: &Failure) -> String {
    if let ("Reject", [reason, requeue]) = (failure.exc_type.as_str(), failure.exc_message.as_slice()) {
        let (reason, requeue) = (reason.as_str().unwrap_or_default(), requeue.as_bool() == Some(true));
        return format!("reject requeue={}: {reason}", if requeue { "True" } else { "False" });
    }
    repr::call(&failure.exc_type, &failure.exc_message)
}

/// The same, of a task that has succeeded and yet failed, because its result cannot be stored.
pub(super) fn failed_after_all(event: EventBody<'static>, failure: &Failure) -> EventBody<'static> {
    match event {
        EventBody::TaskSucceeded { uuid, .. } => {
            let traceback = Some(failure.traceback.clone().unwrap_or_default().into());
            EventBody::TaskFailed { uuid, exception: repr_of(failure).into(), traceback }
        }
        other => other,
    }
}
