//! The roles as separate processes on real servers.

use std::time::Duration;

use testkit::Process;

use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_passes_against_api_two_workers_and_beat_on_real_servers() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "20ms").await;
    let _workers = tokio::join!(system.worker("first"), system.worker("second"));
    let mut demo = system.demo().await;
    let ended = demo.wait(PATIENCE).await;
    assert!(ended.success(), "{}", demo.output());
    assert!(demo.output().contains("nobody was charged twice"), "{}", demo.output());
}

/// Pages of the program itself are left out: a debug build has many times those of a release build, and the kernel takes
/// them back when it needs them.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_keeps_less_than_15_mb_of_its_own() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    let mut worker = system.worker("idle").await;
    worker.wait_for_lines("worker takes tasks", 2, PATIENCE).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid())).unwrap();
    let kilobytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_else(|| panic!("{status}"));
        line.trim_end_matches("kB").trim().parse::<u64>().unwrap()
    };
    let own = kilobytes("RssAnon:");
    assert!(own < 15_000, "{own} kB\n{status}");
}

#[tokio::test]
async fn a_wrong_setting_ends_the_process_with_64_and_names_the_variable() {
    for (role, variable, value) in [
        ("api", "API_LISTEN", "nowhere"),
        ("api", "API_TOKENS", "nonsense"),
        ("worker", "GATEWAY_TIMEOUT", "soon"),
        ("beat", "OPEN_RENEWALS_EVERY", "0s"),
        ("worker", "ENCRYPTION_KEYS", "short:AAAA"),
        ("migrate", "BILLING_TIME_ZONE", "Mars/Olympus"),
    ] {
        let mut process = Process::billing(&[role], |command| {
            command.env(variable, value);
        })
        .await;
        let ended = process.wait(PATIENCE).await;
        assert_eq!(ended.code(), Some(64), "{role} with {variable}={value}: {}", process.output());
        assert!(process.output().contains(variable), "{}", process.output());
    }
}

#[tokio::test]
async fn a_server_out_of_reach_ends_the_process_with_69_and_its_address_without_the_password() {
    let nobody = testkit::free_port();
    for (variable, value) in [
        ("DATABASE_URL", format!("postgres://billing:hunter2@127.0.0.1:{nobody}/billing")),
        ("BROKER_URL", format!("amqp://billing:hunter2@127.0.0.1:{nobody}//")),
        ("RESULT_BACKEND", format!("redis://:hunter2@127.0.0.1:{nobody}/0")),
    ] {
        let database = testkit::postgres().await;
        let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
        let mut process = Process::billing(&["worker"], |command| {
            command.env("DATABASE_URL", database.url()).env("BROKER_URL", vhost.amqp_url());
            command.env("RESULT_BACKEND", redis.url()).env("CONNECT_WITHIN", "1s").env(variable, &value);
        })
        .await;
        let ended = process.wait(PATIENCE).await;
        let output = process.output();
        assert_eq!(ended.code(), Some(69), "{variable}: {output}");
        assert!(output.contains(variable) && output.contains(&format!("127.0.0.1:{nobody}")), "{output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}
