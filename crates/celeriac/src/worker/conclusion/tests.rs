use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::context::DeliveryInfo;
use crate::protocol::State;

const NOW: &str = "2026-01-01T12:00:00Z";

fn now() -> DateTime<Utc> {
    NOW.parse().unwrap()
}

fn request(change: impl FnOnce(&mut TaskMessage)) -> Request {
    let mut message = TaskMessage::new("t", "id", RawJson::EMPTY_LIST, RawJson::EMPTY_OBJECT);
    // As it is when the sender has not said.
    message.ignore_result = None;
    change(&mut message);
    let delivery_info =
        DeliveryInfo { exchange: String::new(), routing_key: "q".into(), redelivered: false, priority: 0 };
    Request { message, delivery_info, hostname: "w@test".into() }
}

fn conclude(request: &Request, options: &TaskOptions, outcome: Outcome) -> Conclusion {
    let is_acknowledged = !options.acks_late && !matches!(outcome, Outcome::Revoked(_) | Outcome::Unknown);
    let case = Case {
        request,
        options: Some(options),
        children: Vec::new(),
        is_acknowledged,
        signal: None,
        extended: false,
        now: now(),
        random: 0.5,
    };
    case.conclude(outcome)
}

fn succeeded() -> Outcome {
    Outcome::Succeeded { result: RawJson::NULL, runtime: Duration::ZERO }
}

fn cause() -> Failure {
    Failure::builtin("ValueError", "boom")
}

const LATE: TaskOptions = TaskOptions { acks_late: true, ..TaskOptions::DEFAULT };
const STRICT: TaskOptions = TaskOptions { acks_on_failure_or_timeout: false, ..LATE };

/// Every way to end, for a task that acknowledges late: the state that is stored and what becomes of the message.
#[test]
fn the_table_of_endings() {
    use Verdict::{Acknowledge, Reject};
    let limit = Duration::from_secs(2);
    for (outcome, state, verdict, strict) in [
        (succeeded(), Some(State::Success), Acknowledge, Acknowledge),
        (Outcome::Answered(TaskError::fail(cause())), Some(State::Failure), Acknowledge, Reject { requeue: false }),
        (
            Outcome::Answered(TaskError::Unexpected(cause())),
            Some(State::Failure),
            Acknowledge,
            Reject { requeue: false },
        ),
        (Outcome::Answered(TaskError::retry(cause())), Some(State::Retry), Acknowledge, Acknowledge),
        (
            Outcome::Answered(TaskError::reject(false, "no")),
            Some(State::Failure),
            Reject { requeue: false },
            Reject { requeue: false },
        ),
        (Outcome::Answered(TaskError::reject(true, "no")), None, Reject { requeue: true }, Reject { requeue: true }),
        (Outcome::Answered(TaskError::ignore()), None, Acknowledge, Acknowledge),
        (Outcome::SoftTimeLimit, Some(State::Failure), Acknowledge, Reject { requeue: false }),
        (Outcome::TimeLimit(limit), Some(State::Failure), Acknowledge, Reject { requeue: true }),
        (Outcome::Revoked(Revocation::Expired), Some(State::Revoked), Acknowledge, Acknowledge),
        (Outcome::Cancelled, None, Reject { requeue: true }, Reject { requeue: true }),
        (Outcome::Unknown, Some(State::Failure), Reject { requeue: false }, Reject { requeue: false }),
    ] {
        for (options, verdict) in [(LATE, verdict), (STRICT, strict)] {
            let conclusion = conclude(&request(|_| {}), &options, outcome.clone());
            assert_eq!(conclusion.meta.map(|meta| meta.state), state, "{outcome:?}");
            assert_eq!(conclusion.verdict, verdict, "{outcome:?} {options:?}");
        }
    }
}

/// `celery/worker/request.py`: what is said of one counts for it before what is said of both.
#[test]
fn failures_and_timeouts_are_acknowledged_each_as_its_option_says() {
    use Verdict::{Acknowledge, Reject};
    let fail = Outcome::Answered(TaskError::fail(cause()));
    let time_out = Outcome::TimeLimit(Duration::from_secs(2));
    for (both, on_failure, on_timeout, failed, timed_out) in [
        (true, None, None, Acknowledge, Acknowledge),
        (true, Some(false), None, Reject { requeue: false }, Acknowledge),
        (true, None, Some(false), Acknowledge, Reject { requeue: true }),
        (false, Some(true), None, Acknowledge, Reject { requeue: true }),
        (false, None, Some(true), Reject { requeue: false }, Acknowledge),
    ] {
        let options = TaskOptions {
            acks_on_failure_or_timeout: both,
            acks_on_failure: on_failure,
            acks_on_timeout: on_timeout,
            ..LATE
        };
        for (outcome, verdict) in [(&fail, failed), (&time_out, timed_out)] {
            let concluded = conclude(&request(|_| {}), &options, outcome.clone()).verdict;
            assert_eq!(concluded, verdict, "{outcome:?} {options:?}");
        }
        // Early acknowledgements are not taken back.
        let early = TaskOptions { acks_late: false, ..options };
        assert_eq!(conclude(&request(|_| {}), &early, fail.clone()).verdict, Verdict::None);
    }
}

#[test]
fn a_message_that_was_acknowledged_early_is_left_alone() {
    for outcome in [
        succeeded(),
        Outcome::Answered(TaskError::fail(cause())),
        Outcome::Answered(TaskError::retry(cause())),
        Outcome::Answered(TaskError::reject(true, "no")),
        Outcome::TimeLimit(Duration::from_secs(1)),
        Outcome::Cancelled,
    ] {
        let conclusion = conclude(&request(|_| {}), &TaskOptions::DEFAULT, outcome.clone());
        assert_eq!(conclusion.verdict, Verdict::None, "{outcome:?}");
    }
}

/// What the message says about its result comes before what the task says.
#[test]
fn nothing_is_stored_of_a_task_whose_result_is_ignored_unless_its_errors_are_wanted() {
    let ignoring = TaskOptions { ignore_result: true, ..LATE };
    let with_errors = TaskOptions { store_errors_even_if_ignored: true, ..ignoring };
    for (options, said, success, failure) in [
        (LATE, None, true, true),
        (LATE, Some(true), false, false),
        (ignoring, None, false, false),
        (ignoring, Some(false), true, true),
        (with_errors, None, false, true),
        (with_errors, Some(true), false, true),
    ] {
        let request = request(|message| message.ignore_result = said);
        let is_stored = |outcome| conclude(&request, &options, outcome).meta.is_some();
        assert_eq!(is_stored(succeeded()), success, "{options:?} {said:?}");
        for outcome in [
            Outcome::Answered(TaskError::fail(cause())),
            Outcome::Answered(TaskError::retry(cause())),
            Outcome::Revoked(Revocation::Revoked),
            Outcome::TimeLimit(Duration::from_secs(1)),
        ] {
            assert_eq!(is_stored(outcome.clone()), failure, "{options:?} {said:?} {outcome:?}");
        }
    }
}

#[test]
fn a_retry_is_the_same_task_counted_up_later_and_its_own_parent() {
    let request = request(|message| {
        message.retries = 1;
        message.root_id = Some("root".into());
        message.parent_id = Some("parent".into());
        message.headers.insert("tenant", "cinema");
        message.properties.reply_to = Some("reply".into());
        message.expires = Some("2026-01-01T12:01:00Z".parse().unwrap());
        message.properties.expiration = Some(90_000);
    });
    let after = Some(Duration::from_millis(1500));
    let conclusion = conclude(&request, &LATE, Outcome::Answered(TaskError::Retry { after, cause: cause() }));
    let expected = TaskMessage {
        retries: 2,
        eta: Some("2026-01-01T12:00:01.5Z".parse().unwrap()),
        countdown: after,
        parent_id: Some("id".into()),
        ..request.message.clone()
    };
    let mut retry = conclusion.retry.unwrap();
    assert_eq!(retry.properties.expiration.replace(90_000), Some(60_000), "what is left of its time");
    assert_eq!(retry, expected);
    let meta = conclusion.meta.unwrap();
    assert_eq!((meta.state, meta.date_done), (State::Retry, None));
    assert_eq!(meta.children, Some(vec![ResultTuple::task("id")]));
    assert_eq!(meta.parent_id.as_deref(), Some("parent"));
    assert_eq!(conclusion.report, Report::Retried(cause()));
}

#[test]
fn when_its_retries_are_used_up_a_task_fails_with_the_cause() {
    let options = TaskOptions { max_retries: Some(2), autoretry: true, ..LATE };
    for retry in
        [TaskError::retry(cause()), TaskError::retry_in(Duration::ZERO, cause()), TaskError::Unexpected(cause())]
    {
        for (retries, is_retried) in [(0, true), (1, true), (2, false), (7, false)] {
            let request = request(|message| message.retries = retries);
            let conclusion = conclude(&request, &options, Outcome::Answered(retry.clone()));
            assert_eq!(conclusion.retry.is_some(), is_retried, "{retries}");
            assert_eq!(conclusion.report == Report::Failed(cause()), !is_retried, "{retries}");
        }
    }
    let endless = TaskOptions { max_retries: None, ..LATE };
    let request = request(|message| message.retries = 1_000_000);
    assert!(conclude(&request, &endless, Outcome::Answered(TaskError::retry(cause()))).retry.is_some());
}

#[test]
fn limits_and_unknown_names_are_told_as_celery_tells_them() {
    let failure = |outcome| conclude(&request(|_| {}), &LATE, outcome).meta.unwrap().exception_info().unwrap();
    let soft = failure(Outcome::SoftTimeLimit);
    assert_eq!((soft.exc_type.as_str(), soft.exc_module.as_str()), ("SoftTimeLimitExceeded", "billiard.exceptions"));
    assert!(soft.exc_message.is_empty());
    assert_eq!(failure(Outcome::TimeLimit(Duration::from_secs(2))).exc_message, [json!(2)]);
    assert_eq!(failure(Outcome::TimeLimit(Duration::from_millis(2500))).exc_message, [json!(2.5)]);
    let unknown = failure(Outcome::Unknown);
    assert_eq!((unknown.exc_type.as_str(), unknown.exc_message), ("NotRegistered", vec![json!("t")]));
    let rejected = failure(Outcome::Answered(TaskError::reject(false, "no thanks")));
    assert_eq!((rejected.exc_type.as_str(), rejected.exc_message), ("Reject", vec![json!("no thanks"), json!(false)]));
}

proptest! {
    /// The delay lies between nothing and twice as much for each retry, up to the limit.
    #[test]
    fn a_retry_never_waits_longer_than_its_policy_says(retries in 0_u32..200, random in 0.0..=1.0_f64, jitter: bool) {
        let options = TaskOptions {
            max_retries: None,
            retry_backoff: Some(Duration::from_secs(1)),
            retry_backoff_max: Duration::from_secs(600),
            retry_jitter: jitter,
            ..LATE
        };
        let request = request(|message| message.retries = retries);
        let case = Case {
            request: &request,
            options: Some(&options),
            children: Vec::new(),
            is_acknowledged: false,
            signal: None,
            extended: false,
            now: now(),
            random,
        };
        let retry = case.conclude(Outcome::Answered(TaskError::retry(cause()))).retry.unwrap();
        let delay = (retry.eta.unwrap().to_utc() - now()).to_std().unwrap();
        let full = Duration::from_secs(1_u64.checked_shl(retries).unwrap_or(u64::MAX).min(600));
        if jitter {
            prop_assert!(delay <= full);
        } else {
            prop_assert_eq!(delay, if retries > 62 { Duration::from_secs(600) } else { full });
        }
    }
}
