//! The commands that Celery's workers know, as its command line offers them (`celery/worker/control.py`, `Panel`).

use celeriac::control::Command;
use serde_json::Value;

use super::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Asks.
    Inspect,
    /// Tells.
    Control,
}

impl Kind {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Control => "control",
        }
    }
}

struct Description {
    name: &'static str,
    /// How its arguments are written.
    signature: &'static str,
    help: &'static str,
    arguments: &'static [(&'static str, Type)],
    /// Takes all further arguments, as a list.
    variadic: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Type {
    Text,
    Int,
    Float,
    Bool,
}

const fn plain(name: &'static str, help: &'static str) -> Description {
    Description { name, signature: "", help, arguments: &[], variadic: None }
}

#[rustfmt::skip]
const INSPECT: &[Description] = &[
    plain("active", "List of tasks currently being executed."),
    plain("active_queues", "List the task queues a worker is currently consuming from."),
    plain("clock", "Get current logical clock value."),
    Description { name: "conf", signature: "[include_defaults=False]", help: "List configuration.",
        arguments: &[("with_defaults", Type::Bool)], variadic: None },
    Description { name: "memdump", signature: "[n_samples=10]", help: "Dump statistics of previous memsample requests.",
        arguments: &[("samples", Type::Int)], variadic: None },
    plain("memsample", "Sample current RSS memory usage."),
    Description { name: "objgraph", signature: "[object_type=Request] [num=200 [max_depth=10]]",
        help: "Create graph of uncollected objects (memory-leak debugging).",
        arguments: &[("type", Type::Text), ("num", Type::Int), ("max_depth", Type::Int)], variadic: None },
    plain("ping", "Ping worker(s)."),
    Description { name: "query_task", signature: "[id1 [id2 [... [idN]]]]", help: "Query for task information by id.",
        arguments: &[], variadic: Some("ids") },
    Description { name: "registered", signature: "[attr1 [attr2 [... [attrN]]]]", help: "List of registered tasks.",
        arguments: &[], variadic: Some("taskinfoitems") },
    plain("report", "Information about Celery installation for bug reports."),
    plain("reserved", "List of currently reserved tasks, not including scheduled/active."),
    plain("revoked", "List of revoked task-ids."),
    plain("scheduled", "List of currently scheduled ETA/countdown tasks."),
    plain("stats", "Request worker statistics/information."),
];

#[rustfmt::skip]
const CONTROL: &[Description] = &[
    Description { name: "add_consumer", signature: "<queue> [exchange [type [routing_key]]]",
        help: "Tell worker(s) to consume from task queue by name.",
        arguments: &[("queue", Type::Text), ("exchange", Type::Text), ("exchange_type", Type::Text), ("routing_key", Type::Text)],
        variadic: None },
    Description { name: "autoscale", signature: "[max [min]]", help: "Modify autoscale settings.",
        arguments: &[("max", Type::Int), ("min", Type::Int)], variadic: None },
    Description { name: "cancel_consumer", signature: "<queue>", help: "Tell worker(s) to stop consuming from task queue by name.",
        arguments: &[("queue", Type::Text)], variadic: None },
    plain("disable_events", "Tell worker(s) to stop sending task-related events."),
    plain("election", "Hold election."),
    plain("enable_events", "Tell worker(s) to send task-related events."),
    plain("heartbeat", "Tell worker(s) to send event heartbeat immediately."),
    Description { name: "pool_grow", signature: "[N=1]", help: "Grow pool by n processes/threads.",
        arguments: &[("n", Type::Int)], variadic: None },
    plain("pool_restart", "Restart execution pool."),
    Description { name: "pool_shrink", signature: "[N=1]", help: "Shrink pool by n processes/threads.",
        arguments: &[("n", Type::Int)], variadic: None },
    Description { name: "rate_limit", signature: "<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
        help: "Tell worker(s) to modify the rate limit for a task by type.",
        arguments: &[("task_name", Type::Text), ("rate_limit", Type::Text)], variadic: None },
    Description { name: "revoke", signature: "[id1 [id2 [... [idN]]]]", help: "Revoke task by task id (or list of ids).",
        arguments: &[], variadic: Some("task_id") },
    Description { name: "revoke_by_stamped_headers", signature: "[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
        help: "Revoke task by header (or list of headers).", arguments: &[], variadic: Some("headers") },
    plain("shutdown", "Shutdown worker(s)."),
    Description { name: "terminate", signature: "<signal> [id1 [id2 [... [idN]]]]", help: "Terminate task by task id (or list of ids).",
        arguments: &[("signal", Type::Text)], variadic: Some("task_id") },
    Description { name: "time_limit", signature: "<task_name> <soft_secs> [hard_secs]",
        help: "Tell worker(s) to modify the time limit for task by type.",
        arguments: &[("task_name", Type::Text), ("soft", Type::Float), ("hard", Type::Float)], variadic: None },
];

fn of_kind(kind: Kind) -> &'static [Description] {
    match kind {
        Kind::Inspect => INSPECT,
        Kind::Control => CONTROL,
    }
}

/// Makes a command of its name and its arguments.
pub(super) fn compile(kind: Kind, name: &str, arguments: &[String]) -> Result<Command, Failure> {
    let usage = |message: String| Failure::usage(kind.verb(), "COMMAND", message);
    let Some(known) = of_kind(kind).iter().find(|command| command.name == name) else {
        let names: Vec<_> = of_kind(kind).iter().map(|command| command.name).collect();
        let (verb, names) = (kind.verb(), names.join(", "));
        return Err(usage(format!("Command {name} not recognized. Available {verb} commands: {names}")));
    };
    if arguments.len() > known.arguments.len() && !known.arguments.is_empty() && known.variadic.is_none() {
        return Err(usage(format!("Command '{name}' takes arguments: {}", known.signature)));
    }
    let mut command = Command::new(name);
    for (text, (argument, kind)) in arguments.iter().zip(known.arguments) {
        command = command.argument(*argument, kind.read(text)?);
    }
    if let Some(variadic) = known.variadic {
        let rest = arguments.get(known.arguments.len()..).unwrap_or_default();
        command = command.argument(variadic, rest.to_vec());
    }
    Ok(command)
}

impl Type {
    fn read(self, text: &str) -> Result<Value, Failure> {
        let wrong = |what: &str| Failure::exception(format!("ValueError: {what}: '{text}'"));
        match self {
            Self::Text => Ok(text.into()),
            Self::Int => {
                text.trim().parse::<i64>().map(Value::from).map_err(|_| wrong("invalid literal for int() with base 10"))
            }
            Self::Float => text
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .map(Value::from)
                .ok_or_else(|| wrong("could not convert string to float")),
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" | "on" => Ok(true.into()),
                "false" | "no" | "0" | "off" => Ok(false.into()),
                _ => Err(Failure::exception(format!("TypeError: Cannot coerce '{text}' to type bool"))),
            },
        }
    }
}

/// The widest left column, its distance from the right one, and the right one's width, as click lays out lists.
const LEFT: usize = 30;
const GAP: usize = 2;
const RIGHT: usize = 44;

/// What `--list` prints.
pub(super) fn listing(kind: Kind) -> String {
    let title = match kind {
        Kind::Inspect => "Inspect",
        Kind::Control => "Control",
    };
    let mut text = format!("{title} Commands:\n");
    for command in of_kind(kind) {
        let left = format!("{} {}", command.name, command.signature);
        let left = left.trim_end();
        text.push_str("  ");
        text.push_str(left);
        let mut lines = wrapped(command.help, RIGHT).into_iter();
        if left.len() <= LEFT {
            text.extend(std::iter::repeat_n(' ', LEFT + GAP - left.len()));
            text.push_str(lines.next().unwrap_or_default());
        }
        for line in lines {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', LEFT + GAP + 2));
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// Breaks a text at spaces, and behind hyphens, into lines of at most `width` characters (all of them ASCII).
fn wrapped(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.len() > width {
        let fits = |at: &usize| *at <= width;
        let spaces = rest.match_indices(' ').map(|(at, _)| at).rfind(fits);
        let hyphens = rest.match_indices('-').map(|(at, _)| at + 1).rfind(fits);
        let end = spaces.max(hyphens).unwrap_or(width);
        lines.push(rest[..end].trim_end());
        rest = rest[end..].trim_start();
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(kind: Kind, line: &str) -> Result<Command, Failure> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        compile(kind, &words[0], &words[1..])
    }

    #[test]
    fn arguments_go_to_their_names_and_types() {
        for (kind, line, expected) in [
            (Kind::Inspect, "ping", Command::new("ping")),
            (Kind::Inspect, "conf yes", Command::new("conf").argument("with_defaults", true)),
            (Kind::Inspect, "registered", Command::new("registered").argument("taskinfoitems", Vec::<String>::new())),
            (Kind::Inspect, "query_task a b", Command::new("query_task").argument("ids", vec!["a", "b"])),
            (
                Kind::Control,
                "rate_limit t 10/m",
                Command::new("rate_limit").argument("task_name", "t").argument("rate_limit", "10/m"),
            ),
            (Kind::Control, "rate_limit t", Command::new("rate_limit").argument("task_name", "t")),
            (
                Kind::Control,
                "time_limit t 1 2.5",
                Command::new("time_limit").argument("task_name", "t").argument("soft", 1.0).argument("hard", 2.5),
            ),
            (
                Kind::Control,
                "terminate SIGKILL a",
                Command::new("terminate").argument("signal", "SIGKILL").argument("task_id", vec!["a"]),
            ),
            (Kind::Control, "pool_grow 3", Command::new("pool_grow").argument("n", 3)),
            (Kind::Control, "election a b", Command::new("election")),
        ] {
            assert_eq!(compiled(kind, line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_told_with_celerys_words_and_status() {
        for (kind, line, status, message) in [
            (
                Kind::Inspect,
                "nope",
                2,
                "Command nope not recognized. Available inspect commands: active, active_queues,",
            ),
            (Kind::Inspect, "shutdown", 2, "Command shutdown not recognized"),
            (Kind::Control, "ping", 2, "Command ping not recognized. Available control commands: add_consumer,"),
            (Kind::Control, "rate_limit a b c", 2, "Command 'rate_limit' takes arguments: <task_name> <rate_limit"),
            (Kind::Control, "pool_grow abc", 1, "ValueError: invalid literal for int() with base 10: 'abc'"),
            (Kind::Control, "time_limit t soon", 1, "ValueError: could not convert string to float: 'soon'"),
            (Kind::Inspect, "conf maybe", 1, "TypeError: Cannot coerce 'maybe' to type bool"),
        ] {
            let failure = compiled(kind, line).unwrap_err();
            assert_eq!(failure.status, status, "{line}");
            assert!(failure.message.unwrap().contains(message), "{line}");
        }
    }

    #[test]
    fn commands_are_listed_as_celery_lists_them() {
        let listing = listing(Kind::Inspect);
        assert!(listing.starts_with(
            "Inspect Commands:\n  active                          List of tasks currently being executed.\n  \
             active_queues                   List the task queues a worker is currently\n                                  \
             consuming from.\n"
        ));
        assert!(listing.contains(
            "  objgraph [object_type=Request] [num=200 [max_depth=10]]\n                                  Create graph \
             of uncollected objects (memory-\n                                  leak debugging).\n"
        ));
    }
}
