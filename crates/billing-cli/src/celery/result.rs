//! `result`: prints what a task has returned (`celery/bin/result.py`).

use std::fmt::Display;
use std::time::Duration;

use celeriac::protocol::{Json, ResultMeta, Tagged, repr};
use celeriac::{App, AsyncResult, GetError};
use clap::Args;

use super::failure::Failure;
use super::options::{GlobalOptions, seconds};
use super::output::Output;
use super::python;

#[derive(Args, Debug)]
pub struct ResultArgs {
    /// The id of the task
    task_id: String,

    /// Accepted for scripts written for Celery
    #[arg(short, long, value_name = "NAME")]
    task: Option<String>,

    /// Show traceback instead
    #[arg(long)]
    traceback: bool,

    /// How many seconds to wait for the end of the task; 0 is without a limit
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "FLOAT")]
    timeout: Duration,

    #[command(flatten)]
    global: GlobalOptions,
}

pub(super) async fn run(args: ResultArgs) -> Result<(), Failure> {
    let Some(url) = args.global.result_backend_url() else {
        return Err(Failure::exception("NotImplementedError: No result backend is configured."));
    };
    // Nothing is sent here.
    let app = App::builder().broker("memory://").backend(url).build().await.map_err(Failure::error)?;
    let out = args.global.output();
    let result: AsyncResult = app.result(args.task_id);
    if args.traceback {
        let meta = result.meta().await.map_err(Failure::error)?;
        // None is printed as an empty line.
        return Ok(out.line(&meta.and_then(|meta| meta.traceback).unwrap_or_default())?);
    }
    let meta = if args.timeout.is_zero() {
        ended(&result).await
    } else {
        let in_time = tokio::time::timeout(args.timeout, ended(&result)).await;
        in_time.map_err(|_| timed_out(&result, args.timeout))?
    };
    print(&meta.map_err(Failure::error)?, out)
}

/// As Python's `AsyncResult.get` says it, and what to do.
fn timed_out(result: &AsyncResult, waited: Duration) -> Failure {
    let (id, waited) = (result.id(), waited.as_secs_f64());
    Failure::exception(format!(
        "celery.exceptions.TimeoutError: The operation timed out.\nTask {id} has no result after {waited} s: it has not ended, or \
         nothing is known of it (--timeout SECONDS waits longer)"
    ))
}

/// Waits for the end of the task, however long that takes.
async fn ended(result: &AsyncResult) -> Result<ResultMeta, GetError> {
    let mut watch = result.watch().await?;
    loop {
        let meta = watch.changed().await?;
        if meta.state.is_ready() {
            return Ok(meta);
        }
    }
}

fn print(meta: &ResultMeta, out: Output) -> Result<(), Failure> {
    if let Some(failure) = meta.exception_info() {
        let name = match failure.exc_module.as_str() {
            "" | "builtins" => failure.exc_type.clone(),
            module => format!("{module}.{}", failure.exc_type),
        };
        return Err(Failure::exception(exception_line(&name, &failure.exc_message)));
    }
    let shown = match meta.result.to_tree() {
        Json::Null => String::new(),
        Json::Tagged(Tagged::Bytes(bytes)) => return Ok(out.bytes(&bytes)?),
        value => python::text(&value),
    };
    Ok(out.line(&shown)?)
}

/// The last line of a traceback: the exception's one argument as it is, several as a tuple.
fn exception_line(name: &str, arguments: &[serde_json::Value]) -> impl Display {
    let text = match arguments {
        [] => return name.to_owned(),
        // A missing key is shown as Python's programs would write it.
        [serde_json::Value::String(text)] if !is_key_error(name) => text.clone(),
        [one] => {
            let mut text = String::new();
            repr::python_value(one, &mut text);
            text
        }
        several => repr::call("", several),
    };
    if text.is_empty() { name.to_owned() } else { format!("{name}: {text}") }
}

fn is_key_error(name: &str) -> bool {
    matches!(name, "KeyError" | "celery.exceptions.NotRegistered")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_exception_is_told_as_the_last_line_of_a_traceback() {
        for (arguments, line) in [
            (json!([]), "m.E"),
            (json!(["boom"]), "m.E: boom"),
            (json!([""]), "m.E"),
            (json!([5]), "m.E: 5"),
            (json!(["no", 402]), "m.E: ('no', 402)"),
        ] {
            assert_eq!(exception_line("m.E", arguments.as_array().unwrap()).to_string(), line);
        }
        assert_eq!(exception_line("KeyError", &[json!("k")]).to_string(), "KeyError: 'k'");
    }
}
