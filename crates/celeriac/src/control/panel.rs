//! What a worker does when it is asked or told something: Celery's `Panel` (`celery/worker/control.py`), one file for each
//! family of commands.

mod arguments;
mod events;
mod info;
mod json;
mod limits;
mod memory;
mod pool;
mod proc;
mod queues;
mod revoke;
mod settings;
mod signals;
mod stats;
mod tasks;

use std::pin::Pin;
use std::sync::Arc;

use self::arguments::{Arguments, Signature};
pub(super) use self::events::adopt_revoked;
pub(super) use self::json::error;
pub(crate) use self::proc::resident;
use crate::protocol::Json;
use crate::protocol::pidbox::Request;
use crate::protocol::repr;
use crate::worker::Shared;

/// What a command is carried out on.
pub(super) type Node = Arc<Shared>;

/// What follows from a command.
pub(super) enum Answer {
    Value(Json),
    /// The command takes its time; others need not wait for it.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// Nothing is answered, whoever asks.
    Silence,
}

/// A command's value, or what went wrong.
pub(super) type Reply = Result<Json, Exception>;

/// An exception of Python's, which its callers expect to read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exception {
    kind: &'static str,
    message: String,
}

impl Exception {
    fn type_error(message: impl Into<String>) -> Self {
        Self { kind: "TypeError", message: message.into() }
    }

    fn value_error(message: impl Into<String>) -> Self {
        Self { kind: "ValueError", message: message.into() }
    }

    fn key_error(key: impl Into<String>) -> Self {
        Self { kind: "KeyError", message: key.into() }
    }

    /// `ValueError('…')`
    fn repr(&self) -> String {
        repr::call(self.kind, &[self.message.as_str().into()])
    }

    /// As a reply: `{"error": "ValueError('…')"}`.
    pub(super) fn to_json(&self) -> Json {
        json::error(&self.repr())
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Value(reply.unwrap_or_else(|exception| exception.to_json()))
    }
}

/// One command: how it is called, and what it does.
struct Command {
    signature: Signature,
    /// The name that older clients call it by.
    alias: Option<&'static str>,
    run: fn(&Node, &Arguments) -> Answer,
}

const fn command(signature: Signature, run: fn(&Node, &Arguments) -> Answer) -> Command {
    Command { signature, alias: None, run }
}

impl Command {
    const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }
}

/// All commands. Those without a file of their own are one line here.
const COMMANDS: &[Command] = &[
    command(Signature::open("ping", &[], &[]), |_, _| Ok(json::ok("pong")).into()),
    command(Signature::closed("report", &[]), settings::report),
    command(Signature::open("conf", &[], &["with_defaults"]), settings::conf).alias("dump_conf"),
    command(Signature::open("stats", &[], &[]), stats::stats),
    command(Signature::open("memsample", &[], &[]), memory::memsample),
    command(Signature::open("memdump", &[], &["samples"]), memory::memdump),
    command(Signature::closed("objgraph", &["num", "max_depth", "type"]), memory::objgraph),
    command(Signature::open("active", &[], &["safe"]), tasks::active).alias("dump_active"),
    command(Signature::open("reserved", &[], &[]), tasks::reserved).alias("dump_reserved"),
    command(Signature::open("scheduled", &[], &[]), tasks::scheduled).alias("dump_schedule"),
    command(Signature::open("query_task", &["ids"], &[]), tasks::query_task),
    command(Signature::open("registered", &[], &["taskinfoitems", "builtins"]), tasks::registered).alias("dump_tasks"),
    command(Signature::open("revoked", &[], &[]), revoke::revoked).alias("dump_revoked"),
    command(Signature::open("revoke", &["task_id"], &["terminate", "signal"]), revoke::revoke),
    command(Signature::open("terminate", &["signal", "task_id"], &[]), revoke::terminate),
    command(
        Signature::open("revoke_by_stamped_headers", &["headers"], &["terminate", "signal"]),
        revoke::revoke_by_stamped_headers,
    ),
    command(Signature::open("rate_limit", &["task_name", "rate_limit"], &[]), limits::rate_limit),
    command(Signature::open("time_limit", &[], &["task_name", "hard", "soft"]), limits::time_limit),
    command(Signature::open("pool_grow", &[], &["n"]), pool::grow),
    command(Signature::open("pool_shrink", &[], &["n"]), pool::shrink),
    command(Signature::open("pool_restart", &[], &["modules", "reload", "reloader"]), pool::restart),
    command(Signature::closed("autoscale", &["max", "min"]), pool::autoscale),
    command(
        Signature::open("add_consumer", &["queue"], &["exchange", "exchange_type", "routing_key"]),
        queues::add_consumer,
    ),
    command(Signature::open("cancel_consumer", &["queue"], &[]), queues::cancel_consumer),
    command(Signature::closed("active_queues", &[]), queues::active_queues),
    command(Signature::closed("enable_events", &[]), events::enable_events),
    command(Signature::closed("disable_events", &[]), events::disable_events),
    command(Signature::closed("heartbeat", &[]), events::heartbeat),
    command(Signature::open("clock", &[], &[]), events::clock),
    command(Signature::open("hello", &["from_node"], &["revoked"]), events::hello),
    command(Signature::open("election", &["id", "topic"], &["action"]), events::election),
    command(Signature::open("shutdown", &[], &["msg"]), shutdown),
];

/// Carries out a command.
pub(super) fn dispatch(node: &Node, request: &Request) -> Answer {
    let method = request.method.as_str();
    let known = COMMANDS.iter().find(|command| command.signature.name == method || command.alias == Some(method));
    let Some(command) = known else {
        tracing::error!(method, "no such control command");
        return Err(Exception::key_error(method)).into();
    };
    match command.signature.bind(&request.arguments) {
        Ok(arguments) => (command.run)(node, &arguments),
        Err(exception) => Err(exception).into(),
    }
}

/// As Python shows a value that came as JSON.
fn python(value: &Json) -> String {
    match value {
        Json::Str(text) => quoted(text),
        Json::List(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Json::Object(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, value)| format!("{}: {}", quoted(key), python(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Json::Null => "None".to_owned(),
        Json::Bool(flag) => if *flag { "True" } else { "False" }.to_owned(),
        Json::Int(number) => number.to_string(),
        Json::Number(number) => number.clone(),
        Json::Tagged(tagged) => tagged.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    repr::quoted(text, &mut out);
    out
}

fn shutdown(node: &Node, _: &Arguments) -> Answer {
    tracing::warn!(hostname = &*node.hostname, "remote control asks for a shutdown");
    node.quit.cancel();
    Answer::Silence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_told_as_python_shows_it() {
        for (exception, shown) in [
            (Exception::key_error("no_such_command"), "KeyError('no_such_command')"),
            (
                Exception::value_error("Can't shrink pool. All processes busy!"),
                r#"ValueError("Can't shrink pool. All processes busy!")"#,
            ),
        ] {
            assert_eq!(exception.to_json(), json::error(shown));
        }
    }

    #[test]
    fn no_two_commands_share_a_name() {
        let mut names: Vec<_> =
            COMMANDS.iter().flat_map(|command| std::iter::once(command.signature.name).chain(command.alias)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
