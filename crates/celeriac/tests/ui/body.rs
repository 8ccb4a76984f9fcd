//! Bodies that ask for a state that the worker does not have, that take no context, that answer something else.

use celeriac::{App, Context, Task, TaskResult, Worker};
use serde::{Deserialize, Serialize};

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.greet")]
struct Greet;

struct Database;

async fn wants_state(_: Greet, _: Context<Database>) -> TaskResult<String> {
    Ok("Hello".to_owned())
}

async fn takes_no_context(_: Greet) -> TaskResult<String> {
    Ok("Hello".to_owned())
}

async fn answers_no_result(_: Greet, _: Context) -> String {
    "Hello".to_owned()
}

fn example(app: App) {
    let _ = Worker::builder(app.clone()).task(wants_state);
    let _ = Worker::builder(app.clone()).task(takes_no_context);
    let _ = Worker::builder(app).task(answers_no_result);
}

fn main() {}
