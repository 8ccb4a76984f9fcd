//! A task that cannot be settled fails alone: all others are settled meanwhile.

mod broker;
mod results;

use std::time::Duration;

use celeriac::protocol::State;
use celeriac::{App, AppBuilder, Failure, GetError, SendOptions, Worker, WorkerBuilder};
use testkit::{OwnServer, Permissions, RedisDb, Vhost};

use super::setup::{SOON, Serving};
use super::tasks::*;

/// What runs beside the one that cannot be settled.
const ORDINARY: usize = 60;

async fn start(app: AppBuilder, configure: impl FnOnce(WorkerBuilder<Log>) -> WorkerBuilder<Log>) -> Serving {
    let app = app.build().await.expect("both servers are there");
    let log = Log::default();
    let builder = register(Worker::builder(app.clone()).hostname("w@test"), &log);
    Serving::start(app, configure(builder).build().expect("the configuration can be"), log)
}

/// Sends ordinary tasks; each id begins so.
async fn send_ordinary(app: &App, prefix: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..ORDINARY {
        let id = format!("{prefix}-{number}");
        app.send_with(Add { x: 1, y: 1 }, SendOptions::new().task_id(&id)).await.expect("it is confirmed");
        ids.push(id);
    }
    ids
}

async fn all_have_results(app: &App, ids: &[String]) {
    for id in ids {
        assert_eq!(app.result::<i64>(id).get(SOON).await.unwrap_or_else(|error| panic!("{id}: {error}")), 2);
    }
}

/// The failure of a task, once it is stored.
async fn failure(app: &App, id: &str) -> Failure {
    match app.result::<serde_json::Value>(id).get(SOON).await {
        Err(GetError::Failed(failure)) => failure,
        other => panic!("{id}: {other:?}"),
    }
}
