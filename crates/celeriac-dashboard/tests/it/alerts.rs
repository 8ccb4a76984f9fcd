//! What is wrong is posted once, again until it is taken, and once more when it is over.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use celeriac::{App, SendOptions};
use celeriac_dashboard::{Alerts, Dashboard};
use listener::{Limits, Listener};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cluster::SOON;

/// A chat, or whatever takes webhooks. It is not there at first.
#[derive(Clone, Default)]
struct Chat(Arc<Mutex<Vec<Told>>>);

/// The authorization of a request, and its body.
type Told = (Option<String>, Value);

async fn take(State(chat): State<Chat>, headers: HeaderMap, Json(notice): Json<Value>) -> StatusCode {
    let token = headers.get("authorization").and_then(|token| token.to_str().ok()).map(str::to_owned);
    let mut taken = chat.0.lock();
    taken.push((token, notice));
    if taken.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

async fn serve(pages: Router, stop: &CancellationToken) -> std::net::SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    tokio::spawn(Listener::new(tcp, Limits::DEFAULT).serve(pages, stop.clone()));
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_told_once_and_that_it_is_empty_again_too() {
    let vhost = testkit::rabbitmq().await;
    let app = App::builder().broker(vhost.amqp_url()).backend("memory://").default_queue("full").build().await.unwrap();
    let stop = CancellationToken::new();
    let chat = Chat::default();
    let hook = serve(Router::new().route("/hook", post(take)).with_state(chat.clone()), &stop).await;
    app.declare_queue("full").await.unwrap();
    for _ in 0..3 {
        app.send_named("nobody.does", [0; 0], json!({}), SendOptions::new().queue("full")).await.unwrap();
    }
    let alerts = Alerts {
        token: Some("of the chat".into()),
        queue_longer: Some(2),
        no_worker: false,
        after: Duration::ZERO,
        ..Alerts::to(format!("http://{hook}/hook").parse().unwrap())
    };
    let dashboard = Dashboard::builder(app.clone()).title("Shop").alerts(alerts).shutdown(stop.clone());
    let _pages = dashboard.into_router("127.0.0.1:1".parse().unwrap()).unwrap();
    let took = async |count: usize| {
        testkit::eventually(SOON, async || {
            let taken = chat.0.lock().clone();
            if taken.len() == count { Ok(taken) } else { Err(format!("{taken:?}")) }
        })
        .await
    };
    let taken = took(2).await;
    assert_eq!(taken[0], taken[1], "it is posted again as it was");
    let (token, notice) = &taken[1];
    assert_eq!(token.as_deref(), Some("Bearer of the chat"));
    assert_eq!(
        (&notice["dashboard"], &notice["alert"], &notice["queue"]),
        (&json!("Shop"), &json!("queue_longer"), &json!("full"))
    );
    assert_eq!((&notice["state"], &notice["says"]), (&json!("firing"), &json!("3 messages wait in full, more than 2")));
    assert!(notice["since"].as_str().unwrap().ends_with('Z'), "{notice}");

    app.broker().purge("full").await.unwrap();
    let (_, over) = took(3).await.pop().unwrap();
    assert_eq!((&over["state"], &over["since"]), (&json!("recovered"), &notice["since"]));
    stop.cancel();
}
