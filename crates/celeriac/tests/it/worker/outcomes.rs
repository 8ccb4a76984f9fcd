//! What is stored and what becomes of the message, for every way a task can end.

use celeriac::protocol::State;
use celeriac::{GetError, SendOptions};
use serde_json::{Value, json};

use super::on_every_broker;
use super::setup::{SOON, Setup};
use super::tasks::*;

on_every_broker!(a_value_is_stored_and_the_message_acknowledged);

async fn a_value_is_stored_and_the_message_acknowledged(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let result = worker.app.send(Add { x: 2, y: 3 }).await.unwrap().typed::<i64>();
    assert_eq!(result.get(SOON).await.unwrap(), 5);
    let meta = result.meta().await.unwrap().unwrap();
    assert_eq!(meta.state, State::Success);
    assert_eq!(meta.traceback, None);
    assert_eq!(meta.children, Some(vec![]));
    assert!(meta.date_done.is_some());
    worker.settled("celery").await;
    worker.stop().await;
}
