//! Sends tasks to the `worker` example and waits for their results.
//!
//! `cargo run -p celeriac --example producer`, with `BROKER_URL` and `RESULT_BACKEND` if they are not on this machine.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::env;
use std::time::Duration;

use celeriac::{App, GetError, SendOptions, Task};
use serde::{Deserialize, Serialize};

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.greet")]
struct Greet {
    name: String,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.deliver")]
struct Deliver {
    order: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = env::var("BROKER_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    let backend = env::var("RESULT_BACKEND").unwrap_or_else(|_| "redis://localhost".to_owned());
    let app = App::builder().broker(broker).backend(backend).build().await?;

    let greeting = app.send(Greet { name: "Ada".to_owned() }).await?.typed::<String>();
    println!("{}", greeting.get(Duration::from_secs(10)).await?);

    // In two seconds, and not at all if nobody has begun it within a minute.
    let options = SendOptions::new().countdown(Duration::from_secs(2)).expires(Duration::from_secs(60));
    let delivery = app.send_with(Deliver { order: 7 }, options).await?;
    let mut states = delivery.watch().await?;
    loop {
        let meta = states.changed().await?;
        println!("order 7: {}", meta.state);
        if meta.state.is_ready() {
            break;
        }
    }
    match delivery.get(Duration::from_secs(10)).await {
        Ok(()) => println!("delivered"),
        Err(GetError::Failed(failure)) => println!("not delivered: {failure}"),
        Err(error) => return Err(error.into()),
    }
    app.close().await;
    Ok(())
}
