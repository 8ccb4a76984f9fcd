//! What no worker can do anything with is parked; an operator looks at it, sends it back or throws it away.

use std::time::Duration;

use serde_json::Value;
use testkit::{Process, RedisDb, Vhost, eventually};

use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(60);

/// How a verb ends and what it prints.
async fn billing(servers: &(Vhost, RedisDb), line: &str) -> (i32, String) {
    let words: Vec<_> = line.split(' ').collect();
    let mut verb = Process::billing(&words, |command| {
        command.env("BROKER_URL", servers.0.amqp_url()).env("RESULT_BACKEND", servers.1.url());
    })
    .await;
    let ended = verb.wait(PATIENCE).await;
    (ended.code().expect("it is not killed"), verb.output())
}

async fn parked(servers: &(Vhost, RedisDb)) -> Vec<Value> {
    let (status, printed) = billing(servers, "parked --json").await;
    assert_eq!(status, 0, "{printed}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

async fn is_parked(servers: &(Vhost, RedisDb)) -> Value {
    eventually(PATIENCE, async || match <[Value; 1]>::try_from(parked(servers).await) {
        Ok([message]) => Ok(message),
        Err(others) => Err(others),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_is_parked_and_sends_it_back_or_throws_it_away() {
    let servers = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&servers.0.amqp_url(), servers.1.url(), "0ms").await;
    let mut worker = system.worker("parking").await;
    worker.wait_for_lines("worker takes tasks", 2, PATIENCE).await;
    assert_eq!(parked(&servers).await, [] as [Value; 0]);
    assert_eq!(billing(&servers, "requeue --all").await, (0, "0 messages requeued.\n".to_owned()));

    let (status, printed) = billing(&servers, "call shop.unheard_of --queue payments -a [1]").await;
    assert_eq!(status, 0, "{printed}");
    let id = printed.trim();
    let message = is_parked(&servers).await;
    for (field, expected) in [
        ("id", id),
        ("task", "shop.unheard_of"),
        ("args", "(1,)"),
        ("reason", "unknown-task"),
        ("queue", "payments"),
        ("worker", "parking@e2e"),
    ] {
        assert_eq!(message[field], expected, "{message}");
    }
    let (status, printed) = billing(&servers, "parked -Q payments").await;
    assert!(status == 0 && printed.contains(&format!("shop.unheard_of[{id}] (1,) {{}}")), "{printed}");
    assert!(printed.ends_with("1 message parked.\n"), "{printed}");
    assert_eq!(billing(&servers, "parked -Q billing").await, (0, "0 messages parked.\n".to_owned()));

    let (status, printed) = billing(&servers, "requeue nobody").await;
    assert!(status == 1 && printed.contains("no such message is parked"), "{printed}");
    assert_eq!(billing(&servers, "requeue").await.0, 2, "what to requeue must be said");
    assert_eq!(billing(&servers, &format!("requeue {id}")).await, (0, "1 message requeued.\n".to_owned()));
    // Nobody has learned it meanwhile.
    let again = is_parked(&servers).await;
    assert!(again["since"].as_str() >= message["since"].as_str(), "{again}");
    let (status, printed) = billing(&servers, "discard --task shop.unheard_of").await;
    assert!(status == 1 && printed.contains("no undo"), "nobody said yes: {printed}");
    let discarded = billing(&servers, "discard --force --task shop.unheard_of").await;
    assert_eq!(discarded, (0, "1 message discarded.\n".to_owned()));
    assert_eq!(parked(&servers).await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_of_its_broker_says_at_the_start_what_becomes_of_long_tasks_and_of_what_comes_back() {
    let servers = tokio::join!(testkit::rabbitmq(), testkit::redis());
    servers.0.policy("limit", ".*", serde_json::json!({"delivery-limit": 3})).await;
    let system = System::start(&servers.0.amqp_url(), servers.1.url(), "0ms").await;
    let api = servers.0.management_url();
    let settings = [("BROKER_API", api.as_str()), ("WORKER_CONSUMER_TIMEOUT", "1s")];
    let mut worker = system.worker_with("told", &settings).await;
    worker.wait_for_line("a policy (delivery-limit) lets the queue drop messages", PATIENCE).await;
    worker.wait_for_line("the task may run longer than the broker waits for its acknowledgement", PATIENCE).await;
}
