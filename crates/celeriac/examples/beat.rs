//! Sends tasks to the `worker` example: one every five seconds, one each weekday at nine in Moscow. Ctrl-C ends it.
//!
//! `cargo run -p celeriac --example beat`, with `BROKER_URL` and `RESULT_BACKEND` if they are not on this machine.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::env;
use std::time::Duration;

use celeriac::beat::{CatchUp, Crontab};
use celeriac::{App, Beat, Entry, Task};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.greet", ignore_result)]
struct Greet {
    name: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = env::var("BROKER_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    let backend = env::var("RESULT_BACKEND").unwrap_or_else(|_| "redis://localhost".to_owned());
    let app = App::builder().broker(broker).backend(backend).build().await?;

    let stop = CancellationToken::new();
    let on_ctrl_c = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_ctrl_c.cancel();
        }
    });
    let often = Entry::every("greet-often", Duration::from_secs(5), Greet { name: "Ada".to_owned() });
    let weekdays: Crontab = "0 9 * * mon-fri".parse()?;
    let mornings = Entry::crontab("greet-mornings", weekdays, Greet { name: "Grace".to_owned() });
    let beat =
        Beat::builder(app.clone()).time_zone(Tz::Europe__Moscow).entry(often.catch_up(CatchUp::Skip)).entry(mornings);
    println!("sends tasks until Ctrl-C");
    beat.build().run(stop).await;
    app.close().await;
    Ok(())
}
