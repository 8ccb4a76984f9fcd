//! `call`: sends a task by its name (`celery/bin/call.py`).

use std::time::Duration;

use celeriac::protocol::parse_time;
use celeriac::{App, BuildError, SendError, SendOptions};
use chrono::{DateTime, FixedOffset};
use clap::Args;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::failure::Failure;
use super::options::GlobalOptions;

#[derive(Args, Debug)]
pub struct CallArgs {
    /// The name of the task
    name: String,

    /// Positional arguments, as a JSON array
    #[arg(short, long, default_value = "[]", value_parser = array, value_name = "JSON ARRAY", help_heading = CALLING)]
    args: JsonArray,

    /// Keyword arguments, as a JSON object
    #[arg(short, long, default_value = "{}", value_parser = object, value_name = "JSON OBJECT", help_heading = CALLING)]
    kwargs: Map<String, Value>,

    /// Scheduled time, ISO 8601
    #[arg(long, value_parser = time, help_heading = CALLING)]
    eta: Option<DateTime<FixedOffset>>,

    /// ETA in seconds from now
    #[arg(long, allow_negative_numbers = true, value_name = "FLOAT", help_heading = CALLING)]
    countdown: Option<f64>,

    /// Expiry time, ISO 8601 or in seconds from now
    #[arg(long, value_parser = expiry, allow_negative_numbers = true, help_heading = CALLING)]
    expires: Option<Expiry>,

    /// Task serializer
    #[arg(long, default_value = "json", help_heading = CALLING)]
    serializer: String,

    /// Custom queue name
    #[arg(long, help_heading = ROUTING)]
    queue: Option<String>,

    /// Custom exchange name
    #[arg(long, help_heading = ROUTING)]
    exchange: Option<String>,

    /// Custom routing key
    #[arg(long, help_heading = ROUTING)]
    routing_key: Option<String>,

    #[command(flatten)]
    global: GlobalOptions,
}

const CALLING: &str = "Calling Options";
const ROUTING: &str = "Routing Options";

/// A wrapper, because clap would take a vector for an option that is given many times.
#[derive(Clone, Debug)]
struct JsonArray(Vec<Value>);

#[derive(Clone, Copy, Debug)]
enum Expiry {
    At(DateTime<FixedOffset>),
    /// Seconds from now; past if negative.
    In(f64),
}

pub(super) async fn run(args: CallArgs) -> Result<(), Failure> {
    let out = args.global.output();
    if args.serializer != "json" {
        let name = &args.serializer;
        return Err(Failure::exception(format!(
            "kombu.exceptions.SerializerNotInstalled: No encoder installed for {name}"
        )));
    }
    let builder = match crate::telemetry::propagator() {
        Some(propagator) => App::builder().propagator(propagator),
        None => App::builder(),
    };
    let app = builder
        .broker_instance(args.global.connect().await?)
        // Nothing is asked of it here.
        .backend("memory://")
        .build()
        .await
        .map_err(|error: BuildError| Failure::error(error))?;
    let id = Uuid::new_v4().to_string();
    let sent = send(&app, &args, &id).await;
    app.close().await;
    sent.map_err(|error| match error {
        SendError::Encode { .. } => Failure::usage("call", "NAME", error),
        other => Failure::error(other),
    })?;
    Ok(out.line(&id)?)
}

async fn send(app: &App, args: &CallArgs, id: &str) -> Result<(), SendError> {
    let send = |options| app.send_named(&args.name, &args.args.0, &args.kwargs, options);
    let options = options(args).task_id(id);
    if let Some(exchange) = &args.exchange {
        let routing_key = args.routing_key.as_deref().or(args.queue.as_deref()).unwrap_or(app.default_queue());
        return send(options.exchange(exchange, routing_key)).await.map(drop);
    }
    if let Some(routing_key) = &args.routing_key {
        // The default queue's exchange has its name.
        let exchange = args.queue.as_deref().unwrap_or(app.default_queue());
        return send(options.exchange(exchange, routing_key)).await.map(drop);
    }
    let queue = args.queue.as_deref().unwrap_or(app.default_queue());
    // Only its owner knows how a queue is declared; who finds it must not try otherwise.
    match send(options.clone().exchange("", queue)).await {
        Err(SendError::Unroutable { .. }) => send(options.queue(queue)).await.map(drop),
        sent => sent.map(drop),
    }
}

fn options(args: &CallArgs) -> SendOptions {
    let mut options = SendOptions::new();
    if let Some(countdown) = args.countdown {
        options = options.countdown(Duration::try_from_secs_f64(countdown.max(0.0)).unwrap_or(Duration::MAX));
    }
    if let Some(eta) = args.eta {
        options = options.eta(eta);
    }
    match args.expires {
        Some(Expiry::At(time)) => options.expires_at(time),
        Some(Expiry::In(seconds)) => {
            options.expires(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
        }
        None => options,
    }
}

fn array(text: &str) -> Result<JsonArray, String> {
    match serde_json::from_str(text) {
        Ok(Value::Array(elements)) => Ok(JsonArray(elements)),
        Ok(_) => Err(format!("{text} was not an array")),
        Err(error) => Err(error.to_string()),
    }
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(entries)) => Ok(entries),
        Ok(_) => Err(format!("{text} was not an object")),
        Err(error) => Err(error.to_string()),
    }
}

fn time(text: &str) -> Result<DateTime<FixedOffset>, String> {
    parse_time(text).ok_or_else(|| format!("unable to parse date string '{text}'"))
}

fn expiry(text: &str) -> Result<Expiry, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Ok(Expiry::In(seconds)),
        _ => time(text).map(Expiry::At),
    }
}
