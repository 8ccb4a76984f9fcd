//! `rate_limit`, `time_limit`.

use std::time::Duration;

use super::arguments::{Arguments, python_type};
use super::{Answer, Exception, Node, Reply, json};
use crate::protocol::Json;
use crate::task::RateLimit;
use crate::worker::Limits;

pub(super) fn rate_limit(node: &Node, arguments: &Arguments) -> Answer {
    set_rate_limit(node, arguments).into()
}

fn set_rate_limit(node: &Node, arguments: &Arguments) -> Reply {
    let given = arguments.get("rate_limit").unwrap_or(&Json::Null);
    let limit = match rate(given)? {
        Ok(limit) => limit,
        Err(invalid) => return Ok(json::error(&format!("Invalid rate limit string: {}", invalid.repr()))),
    };
    let Some(task) = arguments.text("task_name").and_then(|name| node.registry.get(name)) else {
        tracing::error!(task = arguments.text("task_name"), "rate limit for a task that is not known");
        return Ok(json::error("unknown task"));
    };
    task.set_rate_limit(limit);
    task.tell("rate_limit", written(given));
    tracing::info!(task = task.name, limit = limit.map(|limit| limit.to_string()), "rate limit changed");
    Ok(json::ok(if arguments.truth("rate_limit") {
        "new rate limit set successfully"
    } else {
        "rate limit disabled successfully"
    }))
}

/// As Python shows it; `None` for null.
fn written(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Str(text) => Some(text.clone()),
        other => Some(super::python(other)),
    }
}

/// Reads a rate limit as Celery does (`celery/utils/time.py`, `rate`). The inner error is a text that is none.
fn rate(given: &Json) -> Result<Result<Option<RateLimit>, Exception>, Exception> {
    let text = match given {
        Json::Null | Json::Bool(false) | Json::Int(0) => return Ok(Ok(None)),
        Json::Str(text) if text.is_empty() => return Ok(Ok(None)),
        Json::Str(text) => text.clone(),
        Json::Int(number) => number.to_string(),
        Json::Number(number) => number.clone(),
        other => {
            let kind = python_type(other);
            return Err(Exception::type_error(format!("unsupported operand type(s) for /: 'int' and '{kind}'")));
        }
    };
    let (count, modifier) = text.split_once('/').unwrap_or((&text, "s"));
    let modifier = if modifier.is_empty() { "s" } else { modifier };
    if !matches!(modifier, "s" | "m" | "h") {
        return Err(Exception::key_error(modifier));
    }
    let invalid = || Exception::value_error(format!("could not convert string to float: '{count}'"));
    Ok(RateLimit::parse(&format!("{count}/{modifier}")).map_err(|_| invalid()))
}

pub(super) fn time_limit(node: &Node, arguments: &Arguments) -> Answer {
    set_time_limit(node, arguments).into()
}

fn set_time_limit(node: &Node, arguments: &Arguments) -> Reply {
    let Some(task) = arguments.text("task_name").and_then(|name| node.registry.get(name)) else {
        tracing::error!(task = arguments.text("task_name"), "time limit for a task that is not known");
        return Ok(json::error("unknown task"));
    };
    let limits = Limits { soft: seconds(arguments, "soft")?, hard: seconds(arguments, "hard")? };
    task.set_limits(limits);
    for (attribute, argument) in [("soft_time_limit", "soft"), ("time_limit", "hard")] {
        task.tell(attribute, arguments.get(argument).and_then(written));
    }
    tracing::info!(task = task.name, soft = ?limits.soft, hard = ?limits.hard, "time limits changed");
    Ok(json::ok("time limits set successfully"))
}

/// A number of seconds; 0 is no limit.
fn seconds(arguments: &Arguments, name: &str) -> Result<Option<Duration>, Exception> {
    let Some(value) = arguments.get(name) else { return Ok(None) };
    let seconds = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match seconds {
        Some(seconds) => Ok(Some(seconds).filter(|seconds| !seconds.is_zero())),
        None => Err(Exception::type_error(format!("{name} must be a number of seconds, not {}", python_type(value)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_refused_as_celery_does() {
        for (given, limit) in [
            (Json::Str("100/m".into()), Some(RateLimit::per_minute(100.0))),
            (Json::Str("5".into()), Some(RateLimit::per_second(5.0))),
            (Json::Str("2/".into()), Some(RateLimit::per_second(2.0))),
            (Json::Int(3), Some(RateLimit::per_second(3.0))),
            (Json::Number("0.5".into()), Some(RateLimit::per_second(0.5))),
            (Json::Int(0), None),
            (Json::Str("0".into()), None),
            (Json::Null, None),
        ] {
            assert_eq!(rate(&given), Ok(Ok(limit)), "{given:?}");
        }
        let invalid = rate(&Json::Str("often/m".into())).unwrap().unwrap_err();
        assert_eq!(invalid.repr(), r#"ValueError("could not convert string to float: 'often'")"#);
        assert_eq!(rate(&Json::Str("5/d".into())).unwrap_err().repr(), "KeyError('d')");
    }
}
