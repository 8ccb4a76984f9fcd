//! `list bindings`: which queue gets what (`celery/bin/list.py`), from RabbitMQ's management API.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;
use url::Url;

use super::failure::Failure;
use super::options::GlobalOptions;

const TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_PORT: u16 = 15672;

#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct ListArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Inspect queue bindings
    Bindings(BindingsArgs),
}

#[derive(Args, Debug)]
struct BindingsArgs {
    /// Address of RabbitMQ's management API [default: port 15672 of the broker, with the broker's user]
    #[arg(long, env = "BROKER_API", hide_env_values = true, value_name = "URL")]
    broker_api: Option<Url>,

    #[command(flatten)]
    global: GlobalOptions,
}

#[derive(Deserialize)]
struct Binding {
    source: String,
    destination: String,
    routing_key: String,
}

pub(super) async fn run(args: ListArgs) -> Result<(), Failure> {
    let What::Bindings(args) = args.what;
    let url = bindings_url(&args)?;
    let shown = without_password(&url);
    // Anonymous here: a library's error would show the password.
    let failed = |error: reqwest::Error| {
        let error = anyhow::Error::new(error.without_url());
        Failure::error(format!(
            "RabbitMQ's management API at {shown} cannot be asked: {error:#}. BROKER_API (--broker-api URL) says where it is, and \
             with which user"
        ))
    };
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(failed)?;
    let answer = client.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let bindings: Vec<Binding> = answer.json().await.map_err(failed)?;
    let out = args.global.output();
    out.line(&row("Queue", "Exchange", "Routing Key"))?;
    let rule = "-".repeat(16);
    out.line(&row(&rule, &rule, &rule))?;
    for Binding { source, destination, routing_key } in bindings {
        out.line(&row(&destination, &source, &routing_key))?;
    }
    Ok(())
}

fn row(queue: &str, exchange: &str, routing_key: &str) -> String {
    format!("{queue:<28} {exchange:<28} {routing_key}")
}

/// `…/api/bindings/<virtual host>`
fn bindings_url(args: &BindingsArgs) -> Result<Url, Failure> {
    let cannot = || Failure::usage("list bindings", "", "Your transport cannot list bindings.");
    let first = args.global.broker_url().split(';').next().unwrap_or_default().trim().to_owned();
    let broker = Url::parse(&first).map_err(|_| cannot())?;
    if !matches!(broker.scheme(), "amqp" | "amqps" | "pyamqp") {
        return Err(cannot());
    }
    let path = broker.path().strip_prefix('/').unwrap_or_default();
    let virtual_host = percent_encoding::percent_decode_str(if path.is_empty() { "/" } else { path });
    let virtual_host = virtual_host.decode_utf8().map_err(|_| cannot())?.into_owned();
    let mut url = match &args.broker_api {
        Some(api) => api.clone(),
        None => default_api(&broker).ok_or_else(cannot)?,
    };
    url.path_segments_mut().map_err(|()| cannot())?.pop_if_empty().extend(["api", "bindings", &virtual_host]);
    Ok(url)
}

/// Where RabbitMQ has its management API unless told otherwise.
fn default_api(broker: &Url) -> Option<Url> {
    let host = broker.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost");
    let mut api = Url::parse(&format!("http://{host}:{DEFAULT_PORT}")).ok()?;
    let or_guest = |text: &str| if text.is_empty() { "guest".to_owned() } else { text.to_owned() };
    api.set_username(&or_guest(broker.username())).ok()?;
    api.set_password(Some(&or_guest(broker.password().unwrap_or_default()))).ok()?;
    Some(api)
}

fn without_password(url: &Url) -> String {
    let mut url = url.clone();
    // Only an address that cannot have one refuses.
    let _ = url.set_password(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bindings: BindingsArgs,
    }

    fn url(arguments: &[&str]) -> Result<Url, Failure> {
        let line = Line::parse_from(std::iter::once(&"list").chain(arguments));
        bindings_url(&line.bindings)
    }

    #[test]
    fn the_api_is_beside_the_broker_unless_told_otherwise() {
        for (arguments, expected) in [
            (&["-b", "amqp://u:p@h:5672/shop"][..], "http://u:p@h:15672/api/bindings/shop"),
            (&["-b", "amqp://h"], "http://guest:guest@h:15672/api/bindings/%2F"),
            (&["-b", "amqp://h//"], "http://guest:guest@h:15672/api/bindings/%2F"),
            (&["-b", "amqp://h/a%2Fb"], "http://guest:guest@h:15672/api/bindings/a%2Fb"),
            (&["-b", "amqp://h/v", "--broker-api", "https://x:y@z:1/m/"], "https://x:y@z:1/m/api/bindings/v"),
        ] {
            assert_eq!(url(arguments).unwrap().as_str(), expected);
        }
        assert_eq!(url(&["-b", "memory://"]).unwrap_err().status, 2);
        assert_eq!(without_password(&url(&["-b", "amqp://u:secret@h"]).unwrap()), "http://u@h:15672/api/bindings/%2F");
    }
}
