//! What every role needs at start: had, or a clear word about which setting is wrong.

use billing::ServicesConfig;
use billing::db::Db;
use billing::services::ServicesError;
use clap::Parser;
use testkit::FaultProxy;

use crate::shop::{KEYS, Shop};

#[derive(Parser)]
#[command(args_override_self = true)]
struct Program {
    #[command(flatten)]
    services: ServicesConfig,
}

/// Broker and results in memory, little patience; and what is given.
fn config(arguments: &[&str]) -> ServicesConfig {
    let name = uuid::Uuid::new_v4();
    let memory = [format!("--broker-url=memory://{name}"), format!("--result-backend=memory://{name}")];
    let usual = ["program", &memory[0], &memory[1], "--encryption-keys", KEYS, "--connect-within=500ms"];
    Program::try_parse_from(usual.into_iter().chain(arguments.iter().copied())).unwrap().services
}

async fn failure(arguments: &[&str]) -> ServicesError {
    match config(arguments).connect().await {
        Ok(_) => panic!("connected with {arguments:?}"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_had() {
    let shop = Shop::open().await;
    let services = config(&["--database-url", shop.database.url()]).connect().await.unwrap();
    assert_eq!(services.db.address(), shop.db.address());
    assert_eq!(services.time_zone, chrono_tz::Europe::Moscow);
    let mut conn = services.db.conn().await.unwrap();
    assert_eq!(billing::store::tariffs::list(&mut conn, crate::support::noon()).await.unwrap().len(), 3);
    services.app.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_named_at_once() {
    let shop = Shop::open().await;
    let database = ["--database-url", shop.database.url()];
    for (arguments, name) in [
        (vec!["--database-url=nonsense"], "DATABASE_URL"),
        ([&database[..], &["--broker-url=ftp://u:secret@host"]].concat(), "BROKER_URL"),
        ([&database[..], &["--result-backend=ftp://u:secret@host"]].concat(), "RESULT_BACKEND"),
    ] {
        let error = failure(&[&arguments[..], &["--connect-within=1h"]].concat()).await;
        assert!(matches!(&error, ServicesError::Setting { variable, .. } if *variable == name), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let mut wrong_keys = config(&database);
    wrong_keys.encryption_keys = "k:c2hvcnQ=".into();
    let Err(error) = wrong_keys.connect().await else { panic!("connected") };
    assert!(error.to_string().starts_with("ENCRYPTION_KEYS: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_is_asked_again_and_given_up_in_time() {
    let shop = Shop::open().await;
    let nobody = testkit::free_port();
    let database = format!("--database-url=postgres://u:secret@127.0.0.1:{nobody}/billing");
    let real = ["--database-url", shop.database.url()];
    let broker = format!("--broker-url=amqp://u:secret@127.0.0.1:{nobody}//");
    let backend = format!("--result-backend=redis://:secret@127.0.0.1:{nobody}/0");
    for (arguments, name) in [
        (vec![database.as_str()], "DATABASE_URL"),
        ([&real[..], &[&broker]].concat(), "BROKER_URL"),
        ([&real[..], &[&backend]].concat(), "RESULT_BACKEND"),
    ] {
        let error = failure(&arguments).await;
        assert!(matches!(&error, ServicesError::Unreachable { variable, .. } if *variable == name), "{error}");
        let text = error.to_string();
        assert!(text.contains(&nobody.to_string()) && !text.contains("secret"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_late_is_waited_for() {
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.database.url()).await;
    proxy.refuse().await;
    let late = proxy.url(shop.database.url());
    let connecting = tokio::spawn(async move {
        config(&["--database-url", &late, "--connect-within=30s"]).connect_database().await.map(|_| ())
    });
    let early = Db::connect(&proxy.url(shop.database.url()), 1).await;
    assert!(early.unwrap_err().is_transient(), "nobody listens yet");
    proxy.accept().await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_results_have_the_sizes_that_the_settings_give_them() {
    let shop = Shop::open().await;
    let sizes = ["--database-url", shop.database.url(), "--max-message-size=128KiB", "--max-result-size=64KiB"];
    let app = config(&sizes).connect().await.unwrap().app;
    let send = async |bytes: usize| {
        app.send_named("size.echo", ["x".repeat(bytes)], serde_json::json!({}), celeriac::SendOptions::new()).await
    };
    let error = send(130 << 10).await.unwrap_err().to_string();
    assert!(error.contains("max_message_size is 131072"), "{error}");
    let options = celeriac::TaskOptions::DEFAULT;
    let worker = celeriac::Worker::builder(app.clone()).task_named("size.echo", options, async |call, _| Ok(call.args));
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(worker.build().unwrap().run(stop.clone()));
    let sent = app.result::<serde_json::Value>(send(100 << 10).await.unwrap().id());
    let error = sent.get(std::time::Duration::from_secs(20)).await.unwrap_err().to_string();
    assert!(error.contains("max_result_size is 65536"), "{error}");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[test]
fn settings_out_of_range_are_refused_when_read() {
    for wrong in [
        "--database-pool-size=0",
        "--database-pool-size=many",
        "--connect-within=60",
        "--billing-time-zone=Mars/Olympus",
        "--queue-type=stream",
        "--max-message-size=63KiB",
        "--max-result-size=513MiB",
    ] {
        assert!(Program::try_parse_from(["program", wrong]).is_err(), "{wrong}");
    }
    assert!(Program::try_parse_from(["program"]).is_ok(), "the defaults work on a laptop");
}
