//! Bodies that ask for a state that the worker does not have, that take no context, that answer something else or
//! something that cannot be stored, that are not async, that cannot move between threads.

use std::rc::Rc;

use celeriac::{App, Context, Task, TaskResult, Worker};
use serde::{Deserialize, Serialize};

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.greet")]
struct Greet;

struct Database;

struct Secret;

async fn wants_state(_: Greet, _: Context<Database>) -> TaskResult<String> {
    Ok("Hello".to_owned())
}

async fn takes_no_context(_: Greet) -> TaskResult<String> {
    Ok("Hello".to_owned())
}

async fn answers_no_result(_: Greet, _: Context) -> String {
    "Hello".to_owned()
}

async fn answers_what_is_not_stored(_: Greet, _: Context) -> TaskResult<Secret> {
    Ok(Secret)
}

fn is_not_async(_: Greet, _: Context) -> TaskResult<String> {
    Ok("Hello".to_owned())
}

async fn keeps_to_its_thread(_: Greet, cx: Context) -> TaskResult<String> {
    let hello = Rc::new("Hello");
    cx.cancelled().await;
    Ok(hello.to_string())
}

fn example(app: App) {
    let _ = Worker::builder(app.clone()).task(wants_state);
    let _ = Worker::builder(app.clone()).task(takes_no_context);
    let _ = Worker::builder(app.clone()).task(answers_no_result);
    let _ = Worker::builder(app.clone()).task(answers_what_is_not_stored);
    let _ = Worker::builder(app.clone()).task(is_not_async);
    let _ = Worker::builder(app).task(keeps_to_its_thread);
}

fn main() {}
