//! Arguments without `#[derive(Task)]`, sent and registered.

use celeriac::{App, Context, TaskResult, Worker};

struct Greet;

async fn greet(_: Greet, _: Context) -> TaskResult<String> {
    Ok("Hello".to_owned())
}

async fn example(app: App) {
    app.send(Greet).await;
    let _ = Worker::builder(app).task(greet);
}

fn main() {}
