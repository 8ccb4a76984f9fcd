//! Workers are told something, and what each of them says to it, or that it says nothing.

use celeriac::broker::BrokerError;
use celeriac::control::Command;
use serde_json::Value;

use super::{Answer, MAX_REASON};
use crate::Core;
use crate::cluster::PATIENCE;

/// Tells one worker.
pub(super) async fn one(core: &Core, command: Command, node: &str) -> Vec<Answer> {
    or_silence(ask(core, command.to([node]), 1).await, node)
}

/// Tells all workers.
pub(super) async fn everybody(core: &Core, command: Command) -> Vec<Answer> {
    or_silence(ask(core, command, usize::MAX).await, "the workers")
}

fn or_silence(answers: Result<Vec<Answer>, BrokerError>, from: &str) -> Vec<Answer> {
    let answers = answers.unwrap_or_else(|error| vec![broker_says(Err(error))]);
    if answers.is_empty() { vec![silent(from)] } else { answers }
}

fn silent(from: &str) -> Answer {
    let said = format!("no answer within {} s", PATIENCE.as_secs());
    Answer { from: from.to_owned(), said, is_refusal: true }
}

/// Tells it and waits for what is said, no longer than until so many have spoken.
pub(super) async fn ask(core: &Core, command: Command, most: usize) -> Result<Vec<Answer>, BrokerError> {
    let mut replies = core.control.call(command, PATIENCE).await?;
    let mut answers = Vec::new();
    while answers.len() < most
        && let Some(reply) = replies.next().await
    {
        answers.push(answer(&reply.node, reply.value.as_str()));
    }
    answers.sort_by(|a, b| a.from.cmp(&b.from));
    Ok(answers)
}

fn answer(node: &str, said: &str) -> Answer {
    let value: Value = serde_json::from_str(said).unwrap_or(Value::Null);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (said, is_refusal) = match (value.get("ok"), value.get("error")) {
        (_, Some(error)) => (text(error), true),
        (Some(ok), None) => (text(ok), false),
        (None, None) => (said.to_owned(), false),
    };
    Answer { from: node.to_owned(), said: said.chars().take(MAX_REASON).collect(), is_refusal }
}

/// What the broker says to what it was asked for.
pub(super) fn broker_says(told: Result<String, BrokerError>) -> Answer {
    let is_refusal = told.is_err();
    let said = told.unwrap_or_else(|error| format!("{error}; what was not done by then is as it was"));
    Answer { from: "the broker".to_owned(), said, is_refusal }
}
