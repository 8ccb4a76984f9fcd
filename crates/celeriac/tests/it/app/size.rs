//! Messages that are too large are refused where they are sent, and are not lost where they arrive.

use celeriac::broker::Publication;
use celeriac::canvas::{Canvas, Signature};
use celeriac::parking::Reason;
use celeriac::protocol::{Compression, MAX_BODY, RawJson, TaskMessage};
use celeriac::{GetError, PublishError, SendError, SendOptions};
use serde_json::json;

use super::{SOON, Setup};
use crate::worker::on_every_broker;
use crate::worker::tasks::Echo;

on_every_broker!(
    a_message_larger_than_the_limit_is_refused_on_every_way_by_an_error_that_names_the_setting,
    a_message_too_large_to_be_read_fails_with_a_stored_result,
    a_message_too_large_to_be_read_is_parked_where_messages_are,
);

const LIMIT: usize = 10_000;

fn large() -> Echo {
    Echo { value: json!("x".repeat(LIMIT)) }
}

fn is_told(error: &SendError) {
    let SendError::TooLarge { task, size, limit } = error else { panic!("{error:?}") };
    assert!(task == "t.echo" && *size > LIMIT && *limit == LIMIT, "{error:?}");
    assert!(error.to_string().contains("max_message_size is 10000"), "{error}");
}

async fn a_message_larger_than_the_limit_is_refused_on_every_way_by_an_error_that_names_the_setting(setup: Setup) {
    let app = setup.builder().max_message_size(LIMIT).build().await.unwrap();
    let small = || Echo { value: json!("x") };
    is_told(&app.send(large()).await.unwrap_err());
    let many = app.send_many([small(), large(), small()].map(|task| (task, SendOptions::new()))).await;
    assert!(many[0].is_ok() && many[2].is_ok());
    is_told(many[1].as_ref().unwrap_err());
    let kwargs = json!({"value": "x".repeat(LIMIT)});
    is_told(&app.send_named("t.echo", json!([]), kwargs.clone(), SendOptions::new()).await.unwrap_err());
    let signature = || Signature::new("t.echo").kwarg("value", "x".repeat(LIMIT));
    let chain = Canvas::chain([signature(), Signature::new("t.nothing")]);
    for canvas in [Canvas::from(signature()), Canvas::group([signature(), signature()]), chain] {
        match app.publish(canvas).await {
            Err(PublishError::Send(error)) => is_told(&error),
            other => panic!("{:?}", other.map(|published| published.id().to_owned())),
        }
    }
    // It is what goes over the wire that counts, as long as the other side can unpack it.
    app.send_with(large(), SendOptions::new().compression(Compression::Gzip)).await.unwrap();
    let huge = Echo { value: json!("x".repeat(MAX_BODY)) };
    let error = app.send_with(huge, SendOptions::new().compression(Compression::Gzip)).await.unwrap_err();
    assert!(matches!(error, SendError::TooLarge { limit: MAX_BODY, .. }), "{error:?}");
    let depth = app.broker().queue_depth("celery").await.unwrap().unwrap();
    assert_eq!(depth.messages, 3, "nothing else was sent");
}

/// A message that a worker would need more memory for than it takes.
async fn send_bomb(setup: &Setup) {
    let app = setup.app().await;
    app.declare_queue("celery").await.unwrap();
    let args = RawJson::of(&["x".repeat(MAX_BODY)]).unwrap();
    let mut task = TaskMessage::new("t.echo", "bomb", args, RawJson::EMPTY_OBJECT);
    task.argsrepr = Some("(…)".to_owned());
    task.compression = Some(Compression::Gzip);
    let message = task.into_message();
    let publication = Publication { exchange: String::new(), routing_key: "celery".into(), mandatory: true, message };
    app.broker().publish(publication).await.unwrap();
}

async fn a_message_too_large_to_be_read_fails_with_a_stored_result(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    send_bomb(&setup).await;
    let Err(GetError::Failed(failure)) = worker.app.result::<()>("bomb").get(SOON).await else { panic!("it is told") };
    assert!(failure.exc_message[0].as_str().unwrap().contains("larger than"), "{failure:?}");
    worker.settled("celery").await;
    worker.stop().await;
}

async fn a_message_too_large_to_be_read_is_parked_where_messages_are(setup: Setup) {
    let worker = setup.serve(|worker| worker.parking(true)).await;
    send_bomb(&setup).await;
    let Err(GetError::Failed(_)) = worker.app.result::<()>("bomb").get(SOON).await else { panic!("it is told") };
    testkit::eventually(SOON, async || {
        worker.app.parking("celery").list(1).await.unwrap().first().map(|message| message.reason.clone())
            == Some(Reason::Undecodable)
    })
    .await;
    worker.settled("celery").await;
    worker.stop().await;
}
