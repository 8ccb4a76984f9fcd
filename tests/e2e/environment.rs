//! What a role makes of its settings: those that are set to nothing, switches, and servers that are there and say nothing.

use std::net::TcpListener;
use std::time::Duration;

use regex_lite::Regex;
use testkit::Process;
use tokio::time::Instant;
use tokio_postgres::NoTls;

const PATIENCE: Duration = Duration::from_secs(60);

/// Every variable that the help of a role names.
async fn variables(role: &str) -> Vec<String> {
    let mut help = Process::billing(&[role, "--help"], |_| ()).await;
    assert!(help.wait(PATIENCE).await.success(), "{}", help.output());
    let named = Regex::new(r"\[env: ([A-Z0-9_]+)").unwrap();
    let found: Vec<_> = named.captures_iter(&help.output()).map(|found| found[1].to_owned()).collect();
    assert!(found.len() > 5, "{role}: {found:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_starts_with_every_variable_set_to_nothing_as_with_none() {
    let (database, vhost, redis) = tokio::join!(testkit::postgres(), testkit::rabbitmq(), testkit::redis());
    for (role, line) in [
        ("migrate", "the database is up to date"),
        ("sandbox", "listens"),
        ("api", "the API listens"),
        ("worker", "worker takes tasks"),
        ("beat", "beat"),
        ("admin", "the admin panel listens"),
    ] {
        let variables = variables(role).await;
        let mut process = Process::billing(&[role], |command| {
            command.envs(variables.iter().map(|variable| (variable, "")));
            command.env("DATABASE_URL", database.url()).env("BROKER_URL", vhost.amqp_url());
            command.env("RESULT_BACKEND", redis.url());
            command.env("API_LISTEN", "127.0.0.1:0").env("SANDBOX_LISTEN", "127.0.0.1:0");
            command.env("DASHBOARD_LISTEN", "127.0.0.1:0").env("ADMIN_LISTEN", "127.0.0.1:0");
        })
        .await;
        process.wait_for_line(line, PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_understood_as_people_write_it() {
    for (value, seeds) in
        [("1", true), ("yes", true), ("ON", true), ("True", true), ("0", false), ("off", false), ("", false)]
    {
        let database = testkit::postgres().await;
        let mut migrate = Process::billing(&["migrate"], |command| {
            command.env("DATABASE_URL", database.url()).env("SEED", value);
        })
        .await;
        assert!(migrate.wait(PATIENCE).await.success(), "SEED={value}: {}", migrate.output());
        let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let tariffs: i64 = client.query_one("select count(*) from tariff", &[]).await.unwrap().get(0);
        assert_eq!(tariffs > 0, seeds, "SEED={value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_printed_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (role, variable) in [
        ("api", "API_LISTEN"),
        ("sandbox", "SANDBOX_LISTEN"),
        ("dashboard", "DASHBOARD_LISTEN"),
        ("admin", "ADMIN_LISTEN"),
        ("worker", "HEALTH_LISTEN"),
    ] {
        let mut process = Process::billing(&[role], |command| {
            command.env(variable, &address);
        })
        .await;
        assert_eq!(process.wait(PATIENCE).await.code(), Some(69), "{}", process.output());
        let output = process.output();
        assert_eq!(output.matches("Address already in use").count(), 1, "{role}: {output}");
        assert_eq!(output.matches(variable).count(), 1, "{role}: {output}");
    }
}

/// The system answers the connection, and nobody takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_mute_is_waited_for_as_long_as_one_that_refuses() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap();
    let (database, vhost, redis) = tokio::join!(testkit::postgres(), testkit::rabbitmq(), testkit::redis());
    for (variable, value) in [
        ("DATABASE_URL", format!("postgres://billing:hunter2@{address}/billing")),
        ("BROKER_URL", format!("amqp://billing:hunter2@{address}//")),
        ("RESULT_BACKEND", format!("redis://:hunter2@{address}/0")),
    ] {
        let began = Instant::now();
        let mut process = Process::billing(&["worker"], |command| {
            command.env("DATABASE_URL", database.url()).env("BROKER_URL", vhost.amqp_url());
            command.env("RESULT_BACKEND", redis.url()).env("CONNECT_WITHIN", "2s").env(variable, &value);
        })
        .await;
        let ended = process.wait(PATIENCE).await;
        let (took, output) = (began.elapsed(), process.output());
        assert_eq!(ended.code(), Some(69), "{variable}: {output}");
        assert!(took < Duration::from_secs(10), "{variable}: {took:?}\n{output}");
        assert!(output.contains(variable) && output.contains(&address.to_string()), "{output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}
