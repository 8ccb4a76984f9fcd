//! Workflows that end badly or oddly: a client sees the same of them, whichever worker they ran on.

use serde_json::Value;

use super::python::{client_of, python_worker, stop};
use super::tasks::serve_queue;
use crate::worker::setup::Setup;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_sees_of_failed_and_odd_workflows_is_the_same_as_of_celerys_worker() {
    let setup = Setup::classic().await;
    let worker = python_worker(&setup, "python").await;
    let serving = serve_queue(setup.app().await, "rust");
    let told = async |queue: &str| -> Value {
        serde_json::from_str(&client_of(&setup, "endings.py", &[queue]).await).expect("JSON")
    };
    let (theirs, ours) = (told("python").await, told("rust").await);
    let mut wrong = Vec::new();
    for (what, theirs) in theirs.as_object().expect("an object") {
        if ours.get(what) != Some(theirs) {
            wrong.push(format!("{what}\nours   {}\ntheirs {theirs}", ours[what]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(ours.as_object().map(serde_json::Map::len), theirs.as_object().map(serde_json::Map::len));
    serving.stop().await;
    stop(worker).await;
}
