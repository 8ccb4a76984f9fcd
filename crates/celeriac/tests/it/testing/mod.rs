//! The support for tests, tested; and what the compiler says of tasks that are none.

mod compile;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celeriac::testing::TestApp;
use celeriac::{App, Context, Failure, Route, SendOptions, Task, TaskError, TaskResult, Worker, WorkerError};
use serde::{Deserialize, Serialize};

#[derive(Task, Serialize, Deserialize, Debug, PartialEq)]
#[task(name = "shop.ship", queue = "shipping")]
struct Ship {
    order: u64,
}

async fn ship(task: Ship, cx: Context<Shop>) -> TaskResult<u64> {
    cx.state().shipped.fetch_add(1, Ordering::Relaxed);
    Ok(task.order)
}

/// Ships the order once the gateway, which fails at first, has taken the money.
#[derive(Task, Serialize, Deserialize, Debug, PartialEq)]
#[task(name = "shop.pay", max_retries = 5, default_retry_delay = "1h", ignore_result)]
struct Pay {
    order: u64,
}

async fn pay(task: Pay, cx: Context<Shop>) -> TaskResult<&'static str> {
    if cx.request().retries < cx.state().refusals {
        return Err(TaskError::retry(Failure::new("GatewayBusy", ["try again"])));
    }
    cx.app().send_with(Ship { order: task.order }, SendOptions::new().countdown(Duration::from_secs(3600))).await?;
    Ok("paid")
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.hang", soft_time_limit = "10ms")]
struct Hang;

async fn hang(_: Hang, _: Context<Shop>) -> TaskResult<()> {
    std::future::pending().await
}

/// Runs twice an hour at most.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.rare", rate_limit = "2/h", cluster_rate = "2/h")]
struct Rare;

async fn rare(_: Rare, _: Context<Shop>) -> TaskResult<()> {
    Ok(())
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.again")]
struct Again;

async fn again(_: Again, cx: Context<Shop>) -> TaskResult<()> {
    cx.app().send(Again).await?;
    Ok(())
}

#[derive(Clone, Default)]
struct Shop {
    refusals: u32,
    shipped: Arc<AtomicU32>,
}

async fn shop(refusals: u32) -> TestApp<Shop> {
    TestApp::new().await.state(Shop { refusals, ..Shop::default() })
}

#[tokio::test]
async fn a_body_answers_to_the_test_and_what_it_sends_is_remembered() {
    let test = shop(0).await;
    assert_eq!(test.perform(pay, Pay { order: 7 }).await, Ok("paid"));
    let sent = test.assert_enqueued(&Ship { order: 7 });
    assert_eq!((sent.exchange.as_str(), sent.routing_key.as_str()), ("", "shipping"));
    assert!(sent.message.eta.is_some() && sent.message.parent_id.is_some());
    assert_eq!(test.all_enqueued().len(), 1, "the performed task itself was not sent by the program");
    test.refute_enqueued::<Pay>();
    test.clear();
    test.refute_enqueued::<Ship>();
}

#[tokio::test]
async fn a_retry_is_an_answer_to_a_body_that_is_performed_and_nothing_follows_from_it() {
    let test = shop(1).await;
    let answer = test.perform(pay, Pay { order: 7 }).await;
    assert!(matches!(answer, Err(TaskError::Retry { after: None, cause }) if cause.exc_type == "GatewayBusy"));
    assert!(test.all_enqueued().is_empty());
    assert_eq!(test.run_until_idle(|worker| worker.task(pay)).await, 0);
}

#[tokio::test]
async fn a_body_that_panics_or_runs_out_of_time_has_failed() {
    let test = shop(0).await;
    let Err(TaskError::Fail(failure)) = test.perform(hang, Hang).await else { panic!("it never ends") };
    assert_eq!(failure.exc_type, "SoftTimeLimitExceeded");
    let panics = async |_: Hang, _: Context<Shop>| -> TaskResult<()> { panic!("out of cheese") };
    let Err(TaskError::Fail(failure)) = test.perform(panics, Hang).await else { panic!("it panicked") };
    assert_eq!((failure.exc_type.as_str(), failure.exc_message[0].as_str()), ("Panic", Some("out of cheese")));
}

#[tokio::test]
async fn a_body_sees_the_options_it_was_sent_with() {
    let test = shop(0).await;
    let asks = async |_: Ship, cx: Context<Shop>| -> TaskResult<(String, bool)> {
        Ok((cx.request().id.clone(), cx.request().headers.get("tenant").is_some()))
    };
    let options = SendOptions::new().task_id("ship-7").header("tenant", "acme");
    assert_eq!(test.perform_with(asks, Ship { order: 7 }, options).await, Ok(("ship-7".to_owned(), true)));
}

#[tokio::test]
async fn everything_runs_that_follows_from_what_was_sent_and_no_delay_is_waited_for() {
    let test = shop(2).await;
    test.app().send(Pay { order: 1 }).await.unwrap();
    test.app().send(Pay { order: 2 }).await.unwrap();
    let register = |worker: celeriac::WorkerBuilder<Shop>| worker.task(pay).task(ship);
    // Each is paid at the third attempt and then shipped, through a queue that nobody knew at the start.
    assert_eq!(test.run_until_idle(register).await, 8);
    assert_eq!(test.enqueued::<Pay>().iter().map(|sent| sent.message.retries).max(), Some(2));
    let shipped = test.assert_enqueued(&Ship { order: 2 });
    assert!(shipped.message.eta.is_some());
    let result = test.app().result::<u64>(shipped.message.id);
    assert_eq!(result.get(Duration::ZERO).await.unwrap(), 2);
    assert_eq!(test.run_until_idle(register).await, 0, "nothing is left");
}

#[tokio::test]
async fn rate_limits_are_not_waited_for_in_real_time() {
    let test = shop(0).await;
    for _ in 0..20 {
        test.app().send(Rare).await.unwrap();
    }
    let began = tokio::time::Instant::now();
    assert_eq!(test.run_until_idle(|worker| worker.task(rare)).await, 20);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn two_bodies_for_one_task_name_do_not_build() {
    let app = TestApp::new().await.app().clone();
    let other = async |_: Rare, _: Context<Shop>| -> TaskResult<()> { Ok(()) };
    let twice = Worker::builder(app.clone()).state(Shop::default()).task(rare).task(other).build();
    let Err(WorkerError::Configuration(told)) = twice else { panic!("it was built") };
    assert_eq!(told, "more than one body was registered for shop.rare: leave one");
    // What the worker brings along itself may be replaced.
    let own = async |_: celeriac::worker::Call, _: Context| Ok(celeriac::protocol::RawJson::NULL);
    let built = Worker::builder(app).task_named("celery.accumulate", celeriac::TaskOptions::DEFAULT, own).build();
    assert!(built.is_ok());
}

#[tokio::test]
async fn the_name_of_a_node_is_expanded_as_celery_does() {
    let app = TestApp::new().await.app().clone();
    let named = |name: &str| Worker::builder(app.clone()).hostname(name).build();
    let host = celeriac::worker::nodename("%h").strip_prefix("celery@").unwrap().to_owned();
    for (name, expanded) in
        [("w1@%h", format!("w1@{host}")), ("w1", "celery@w1".to_owned()), ("w%%1@x", "w%1@x".to_owned())]
    {
        assert_eq!(named(name).unwrap().handle().hostname(), expanded);
    }
    let Err(WorkerError::Configuration(told)) = named("w1@%x") else { panic!("it was built") };
    assert_eq!(told, "hostname: %x stands for nothing: %h, %n, %d, %i, %I or %% expected");
}

#[tokio::test]
async fn a_test_app_has_the_routes_of_the_program() {
    let settings = App::builder().route("shop.*", Route::queue("shop")).default_queue("misc");
    let test = TestApp::with(settings).await;
    test.app().send(Pay { order: 1 }).await.unwrap();
    test.app().send_named("other", ["many"], serde_json::json!({}), SendOptions::new()).await.unwrap();
    let sent = test.all_enqueued();
    assert_eq!(sent.iter().map(|sent| sent.routing_key.as_str()).collect::<Vec<_>>(), ["shop", "misc"]);
    assert!(sent[1].clone().read::<Pay>().is_err(), "its arguments are not those of a payment");
}

#[tokio::test]
#[should_panic(expected = "shop.again")]
async fn a_program_that_never_comes_to_rest_is_told_so() {
    let test = shop(0).await.patience(Duration::from_millis(100));
    test.app().send(Again).await.unwrap();
    test.run_until_idle(|worker| worker.task(again)).await;
}

#[tokio::test]
#[should_panic(expected = "shop.ship Ship { order: 7 } was not sent; sent were: shop.ship {\"order\":8}")]
async fn an_assertion_that_fails_says_what_was_sent() {
    let test = shop(0).await;
    test.app().send(Ship { order: 8 }).await.unwrap();
    test.assert_enqueued(&Ship { order: 7 });
}
