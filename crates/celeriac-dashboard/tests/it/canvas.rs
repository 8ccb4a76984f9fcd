//! A workflow as a whole: what has ended, what is under way, and what nobody has sent yet.

use celeriac::canvas::{Canvas, Signature};
use celeriac::{App, Context, Task, TaskResult, Worker};
use celeriac_dashboard::Dashboard;
use listener::{Limits, Listener};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cluster::{SOON, get};
use crate::html::text;

#[derive(Task, Serialize, Deserialize)]
#[task(name = "film.cut", queue = "film")]
struct Cut {}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "film.show", queue = "film")]
struct Show {}

async fn show(_: Show, _: Context) -> TaskResult<()> {
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_a_chain_is_shown_before_anybody_has_sent_it() {
    let app = App::builder().broker("memory://").backend("memory://").default_queue("film").build().await.unwrap();
    let stop = CancellationToken::new();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bound = tcp.local_addr().unwrap();
    let pages = Dashboard::builder(app.clone()).shutdown(stop.clone()).into_router(bound).unwrap();
    tokio::spawn(Listener::new(tcp, Limits::DEFAULT).serve(pages, stop.clone()));
    let (go_on, waits) = oneshot::channel::<()>();
    let waits = Arc::new(Mutex::new(Some(waits)));
    let cut = move |_: Cut, _: Context| {
        let waits = waits.lock().take();
        async move {
            if let Some(waits) = waits {
                let _ = waits.await;
            }
            TaskResult::Ok(())
        }
    };
    let worker = Worker::builder(app.clone()).hostname("w@film").queues(["film"]).events(true).task(cut).task(show);
    let worker = tokio::spawn(worker.build().unwrap().run(stop.clone()));
    let page = async |path: &str| text(&get(&format!("http://{bound}{path}")).await.text().await.unwrap());
    let shows = async |path: &str, wanted: &[&str]| {
        testkit::eventually(SOON, async || {
            let page = page(path).await;
            match wanted.iter().find(|wanted| !page.contains(**wanted)) {
                None => Ok(page),
                Some(missing) => Err(format!("{missing} is not on {path}: {page}")),
            }
        })
        .await
    };
    shows("/workers", &["w@film"]).await;
    let step = |task: &str, id: &str| Signature::new(task).immutable().with("queue", "film").with("task_id", id);
    let chain = Canvas::chain([step("film.cut", "first"), step("film.show", "second"), step("film.show", "third")]);
    app.publish(chain).await.unwrap();
    let told = ["Goes on: 0 of 1 task ended, 1 to go and 2 not sent yet.", "film.show second", "film.show third"];
    let before = shows("/canvas/first", &told).await;
    assert_eq!(before.matches("not sent yet film.show").count(), 2, "{before}");

    go_on.send(()).unwrap();
    let after = shows("/canvas/first", &["Done: 3 of 3 tasks ended."]).await;
    assert!(!after.contains("Not sent yet"), "{after}");
    stop.cancel();
    worker.await.unwrap().unwrap();
}
