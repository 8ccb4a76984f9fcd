//! `parked`, `requeue` and `discard`: messages that no worker could do anything with. Celery has no such verbs.

use std::collections::BTreeSet;
use std::time::Duration;

use celeriac::App;
use celeriac::parking::{ParkedMessage, Selection};
use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::options::GlobalOptions;
use super::output::Output;
use super::purge::KNOWN_QUEUES;

/// How long an answer of the result backend may take.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Args, Debug)]
pub struct ParkedArgs {
    /// Comma separated list of the queues that the messages were in [default: billing,celery,lookups,payments,renewals]
    #[arg(short = 'Q', long = "queue", visible_alias = "queues", value_delimiter = ',', value_name = "QUEUES")]
    queues: Vec<String>,

    /// Show at most so many of each queue, the oldest first
    #[arg(short = 'n', long, default_value_t = 1000, value_name = "N")]
    limit: u16,

    /// Use json as output format
    #[arg(short, long)]
    json: bool,

    #[command(flatten)]
    global: GlobalOptions,
}

#[derive(Args, Debug)]
pub struct RequeueArgs {
    #[command(flatten)]
    which: WhichArgs,

    #[command(flatten)]
    global: GlobalOptions,
}

#[derive(Args, Debug)]
pub struct DiscardArgs {
    #[command(flatten)]
    which: WhichArgs,

    /// Don't prompt for verification
    #[arg(short, long)]
    force: bool,

    #[command(flatten)]
    global: GlobalOptions,
}

/// Which messages are meant.
#[derive(Args, Debug)]
struct WhichArgs {
    /// Only messages of the tasks with these ids
    #[arg(value_name = "ID", required_unless_present_any = ["all", "task"])]
    ids: Vec<String>,

    /// Only messages of tasks of this name
    #[arg(short, long, value_name = "NAME")]
    task: Option<String>,

    /// All that are parked
    #[arg(short, long, conflicts_with_all = ["ids", "task"])]
    all: bool,

    /// Comma separated list of the queues that the messages were in [default: billing,celery,lookups,payments,renewals]
    #[arg(short = 'Q', long = "queue", visible_alias = "queues", value_delimiter = ',', value_name = "QUEUES")]
    queues: Vec<String>,
}

impl WhichArgs {
    fn selection(&self) -> Selection {
        let mut selection = Selection::all();
        if !self.ids.is_empty() {
            selection = selection.ids(&self.ids);
        }
        if let Some(task) = &self.task {
            selection = selection.task(task);
        }
        selection
    }
}

pub(super) async fn parked(args: ParkedArgs) -> Result<(), Failure> {
    let out = args.global.output();
    let app = connect(&args.global).await?;
    let mut messages = Vec::new();
    for queue in queues(&args.queues) {
        messages.extend(app.parking(queue).list(args.limit).await?);
    }
    app.close().await;
    if args.json {
        let list: Vec<_> = messages.iter().map(as_json).collect();
        return Ok(out.line(&serde_json::Value::from(list).to_string())?);
    }
    for message in &messages {
        out.line(&line(message))?;
    }
    let count = messages.len();
    Ok(out.line(&format!("{count} {} parked.", noun(count as u64)))?)
}

pub(super) async fn requeue(args: RequeueArgs) -> Result<(), Failure> {
    let (out, selection) = (args.global.output(), args.which.selection());
    let app = connect(&args.global).await?;
    let mut count = 0;
    for queue in queues(&args.which.queues) {
        count += app.parking(queue).requeue(&selection).await?;
    }
    app.close().await;
    told(out, &args.which, count, "requeued")
}

pub(super) async fn discard(args: DiscardArgs) -> Result<(), Failure> {
    let (out, selection) = (args.global.output(), args.which.selection());
    if !args.force {
        confirm(out)?;
    }
    let app = connect(&args.global).await?;
    let mut count = 0;
    for queue in queues(&args.which.queues) {
        count += app.parking(queue).discard(&selection).await?;
    }
    app.close().await;
    told(out, &args.which, count, "discarded")
}

/// None of those that were named is an error.
fn told(out: Output, which: &WhichArgs, count: u64, done: &str) -> Result<(), Failure> {
    if count == 0 && !which.all {
        return Err(Failure::error("no such message is parked"));
    }
    Ok(out.line(&format!("{count} {} {done}.", noun(count)))?)
}

/// The result backend, if there is one, is told that deliveries count from the beginning.
async fn connect(global: &GlobalOptions) -> Result<App, Failure> {
    let broker = global.connect().await?;
    let backend = global.result_backend_url().unwrap_or_else(|| "memory://".to_owned());
    let app = App::builder().broker_instance(broker).backend(backend).backend_timeout(BACKEND_TIMEOUT);
    app.build().await.map_err(Failure::error)
}

fn queues(named: &[String]) -> BTreeSet<String> {
    if named.is_empty() { KNOWN_QUEUES.map(str::to_owned).into() } else { named.iter().cloned().collect() }
}

fn noun(count: u64) -> &'static str {
    if count == 1 { "message" } else { "messages" }
}

fn line(message: &ParkedMessage) -> String {
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    let since = message.since.map_or_else(|| "?".to_owned(), |since| since.format("%Y-%m-%d %H:%M:%S").to_string());
    let (args, kwargs) = (message.argsrepr.as_deref().unwrap_or("()"), message.kwargsrepr.as_deref().unwrap_or("{}"));
    format!(
        "{since} {}[{}] {args} {kwargs}\n    {} in {}: {}",
        or_unknown(&message.task),
        or_unknown(&message.id),
        message.reason,
        message.queue,
        message.error
    )
}

fn as_json(message: &ParkedMessage) -> serde_json::Value {
    json!({
        "id": message.id,
        "task": message.task,
        "args": message.argsrepr,
        "kwargs": message.kwargsrepr,
        "reason": message.reason.as_str(),
        "error": message.error,
        "queue": message.queue,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "since": message.since.map(|since| since.to_rfc3339()),
        "worker": message.worker,
    })
}

fn confirm(out: Output) -> Result<(), Failure> {
    out.confirm(&format!(
        "{}: There is no undo for this operation!\n\n(to skip this prompt use the -f option)\nAre you sure you want to \
         throw these messages away? [y/N]: ",
        out.warning("WARNING")
    ))
}

#[cfg(test)]
mod tests {
    use celeriac::parking::Reason;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        which: WhichArgs,
    }

    fn message(id: &str, task: &str) -> ParkedMessage {
        ParkedMessage {
            id: Some(id.to_owned()),
            task: Some(task.to_owned()),
            argsrepr: Some("(1,)".to_owned()),
            kwargsrepr: None,
            reason: Reason::UnknownTask,
            error: "task t is not registered".to_owned(),
            queue: "payments".to_owned(),
            exchange: String::new(),
            routing_key: "payments".to_owned(),
            since: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            worker: None,
            returned: 0,
        }
    }

    #[test]
    fn what_is_meant_must_be_said() {
        for (line, selected) in [
            ("-a", Some((true, true, true))),
            ("-t t", Some((true, false, true))),
            ("a", Some((true, true, false))),
            ("a b -t t", Some((true, false, true))),
            ("", None),
            ("--all a", None),
        ] {
            let words = std::iter::once("requeue").chain(line.split_whitespace());
            let parsed = Line::try_parse_from(words).ok().map(|line| line.which.selection());
            let selected_of = |selection: Selection| {
                let [one, two, three] = [("a", "t"), ("a", "u"), ("b", "t")].map(|(id, task)| message(id, task));
                (selection.contains(&one), selection.contains(&two), selection.contains(&three))
            };
            assert_eq!(parsed.map(selected_of), selected, "{line:?}");
        }
    }

    #[test]
    fn a_message_is_told_in_two_lines() {
        assert_eq!(
            line(&message("1", "t")),
            "2026-01-02 03:04:05 t[1] (1,) {}\n    unknown-task in payments: task t is not registered"
        );
    }
}
