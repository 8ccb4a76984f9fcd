//! The roles as separate processes on real servers.

use std::time::Duration;

use billing_api::proto::PaymentStatus;
use testkit::Process;

use crate::cinema::Cinema;
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

/// What is wrong by itself, whatever else is there.
const WRONG: &[(&str, &str, &str)] = &[
    ("api", "API_LISTEN", "nowhere"),
    ("api", "API_TOKENS", "nonsense"),
    ("api", "API_TOKENS", "shop:long-enough:payments:soon"),
    ("api", "API_TLS_CERT", "/nowhere.pem"),
    ("api", "API_TLS_KEY", "/nowhere.pem"),
    ("api", "API_TLS_CLIENT_CA", "/nowhere.pem"),
    ("api", "API_WEB_ORIGINS", "cinema"),
    ("api", "API_JWKS", "/nowhere.json"),
    ("api", "API_JWKS", "http://auth.example/jwks.json"),
    ("api", "API_JWKS_REFRESH", "0s"),
    ("api", "API_JWKS_PAUSE", "soon"),
    ("api", "API_MAX_IN_FLIGHT_PER_ACCOUNT", "0"),
    ("api", "API_MAX_STREAMS_PER_ACCOUNT", "many"),
    ("api", "API_REQUEST_TIMEOUT", "0s"),
    ("api", "API_WATCH_REREAD", "soon"),
    ("api", "API_MAX_IN_FLIGHT", "0"),
    ("api", "API_MAX_IN_FLIGHT_PER_CLIENT", "0"),
    ("api", "API_MAX_STREAMS", "-1"),
    ("api", "API_MESSAGE_TIMEOUT", "0s"),
    ("api", "API_HANDSHAKE_TIMEOUT", "soon"),
    ("api", "API_IDLE_TIMEOUT", "0s"),
    ("api", "API_MAX_CONNECTIONS", "0"),
    ("api", "API_MAX_CONNECTIONS_PER_ADDRESS", "many"),
    // Without NOTIFICATIONS_API_SECRETS.
    ("api", "NOTIFICATIONS_LISTEN", "127.0.0.1:0"),
    ("api", "NOTIFICATIONS_FROM", "185.98.81.0/33"),
    ("api", "NOTIFICATIONS_PROXIES", "load-balancer"),
    ("api", "NOTIFICATIONS_TERMINAL", "real"),
    ("api", "NOTIFICATIONS_TIMEOUT", "0s"),
    ("api", "NOTIFICATIONS_CHECK_TIMEOUT", "soon"),
    ("api", "NOTIFICATIONS_CHECK_CONNECTIONS", "0"),
    ("api", "NOTIFICATIONS_MAX_IN_FLIGHT", "many"),
    ("api", "DATABASE_URL", "nonsense"),
    ("api", "DATABASE_POOL_SIZE", "0"),
    ("api", "QUEUE_TYPE", "round"),
    ("api", "PUBLISH_TIMEOUT", "1"),
    ("api", "CONNECT_WITHIN", "1"),
    ("worker", "DATABASE_URL", "mysql://127.0.0.1/billing"),
    ("worker", "WORKER_REVOKES_MAX", "0"),
    ("worker", "WORKER_REVOKE_EXPIRES", "soon"),
    ("worker", "ENCRYPTION_KEYS", "short:AAAA"),
    ("worker", "ENCRYPTION_KEYS", "nonsense"),
    ("worker", "GATEWAY_URL", "nonsense"),
    ("worker", "GATEWAY_URL", "ftp://127.0.0.1"),
    ("worker", "CLOUDPAYMENTS_PUBLIC_ID", "a:b"),
    ("worker", "GATEWAY_TIMEOUT", "soon"),
    ("worker", "GATEWAY_TIMEOUT", "0s"),
    ("worker", "GATEWAY_TIMEOUT", "10m"),
    ("worker", "GATEWAY_MAX_IN_FLIGHT", "0"),
    ("worker", "WORKER_CONCURRENCY", "0"),
    ("worker", "WORKER_CONCURRENCY", "many"),
    ("worker", "WORKER_QUEUES", "payments,,billing"),
    ("worker", "WORKER_SHUTDOWN_TIMEOUT", "1"),
    ("worker", "THREE_DS_TTL", "30"),
    ("worker", "STRANDED_AFTER", "-1s"),
    ("worker", "PERSONAL_TRACES_KEPT", "30"),
    ("worker", "PERSONAL_TRACES_KEPT", "4000d"),
    ("worker", "RESOLVE_FIRST_LOOK", "0s"),
    ("worker", "GATEWAY_BREAKER_FAILURES", "0"),
    ("worker", "GATEWAY_BREAKER_CALLS", "0"),
    ("worker", "GATEWAY_BREAKER_SHARE", "101"),
    ("worker", "GATEWAY_BREAKER_PAUSE", "0s"),
    ("worker", "GATEWAY_BREAKER_PAUSE", "2h"),
    ("worker", "RESOLVE_LOOK_ONLY", "2h"),
    ("worker", "RESOLVE_RESEND_UNTIL", "2h"),
    ("worker", "RESOLVE_NOT_EXECUTED_AFTER", "1m"),
    ("worker", "RESOLVE_NOT_FOUND_GAP", "x"),
    ("api", "RESOLVE_LOOK_ONLY", "2h"),
    ("worker", "EVENTS_KEPT_FOR", "30d"),
    ("worker", "GATEWAY_CALLS_KEPT_FOR", "0s"),
    ("worker", "NOTIFICATIONS_KEPT_FOR", "0s"),
    ("worker", "AUTH_URL", "nonsense"),
    ("worker", "RECEIPTS_TAXATION_SYSTEM", "6"),
    ("worker", "RECEIPTS_TAXATION_SYSTEM", "general"),
    ("worker", "RECEIPTS_INN", "77000000"),
    ("worker", "AUTH_URL", "ftp://127.0.0.1"),
    ("worker", "ROLES_MAX_IN_FLIGHT", "0"),
    ("worker", "ROLES_TIMEOUT", "5m"),
    ("beat", "KEEP_HISTORY_EVERY", "0s"),
    ("beat", "OPEN_RENEWALS_EVERY", "0s"),
    ("beat", "SETTLE_NOTIFICATIONS_EVERY", "0s"),
    ("beat", "REPUBLISH_STRANDED_EVERY", "never"),
    ("beat", "EXPIRE_THREE_DS_EVERY", "1"),
    ("beat", "WIPE_TRACES_EVERY", "0s"),
    ("beat", "RECONCILE_EVERY", "0s"),
    ("beat", "RESUME_REFUNDS_EVERY", "0s"),
    ("beat", "RUN_BULKS_EVERY", "0s"),
    ("beat", "WATCH_RECEIPTS_EVERY", "0s"),
    ("worker", "WORKER_EVENTS", "perhaps"),
    ("admin", "ADMIN_LISTEN", "0.0.0.0:0"),
    ("admin", "ADMIN_HTTPS", "perhaps"),
    ("admin", "ADMIN_INSECURE", "perhaps"),
    ("admin", "ADMIN_PROXIES", "many"),
    ("admin", "ADMIN_SECOND_FACTOR", "perhaps"),
    ("admin", "ADMIN_DASHBOARD", "queues"),
    ("admin", "ADMIN_ADDRESS", "billing"),
    // Without ADMIN_OIDC_CLIENT_ID.
    ("admin", "ADMIN_OIDC_ISSUER", "https://sso.example"),
    ("admin", "ADMIN_OIDC_ISSUER", "http://sso.example"),
    // Without ADMIN_OIDC_ISSUER.
    ("admin", "ADMIN_OIDC_CLIENT_ID", "billing"),
    ("admin", "ADMIN_OIDC_ONLY", "on"),
    ("admin", "ADMIN_OIDC_ONLY", "perhaps"),
    ("dashboard", "DASHBOARD_LISTEN", "0.0.0.0:0"),
    ("dashboard", "DASHBOARD_READ_TOKEN", "short"),
    ("dashboard", "DASHBOARD_ACT_TOKEN", "short"),
    ("dashboard", "DASHBOARD_MAX_TASKS", "0"),
    ("dashboard", "DASHBOARD_MAX_MEMORY", "much"),
    ("dashboard", "DASHBOARD_BROKER_API", "nonsense"),
    ("dashboard", "DASHBOARD_HISTORY_URL", "nonsense"),
    ("dashboard", "DASHBOARD_HISTORY_DAYS", "0"),
    ("dashboard", "DASHBOARD_PROXY_HEADER", "no header"),
    ("dashboard", "DASHBOARD_ALERTS_URL", "nonsense"),
    ("dashboard", "DASHBOARD_ALERTS_FAILURES", "many"),
    ("dashboard", "DASHBOARD_HISTORY_MAX_SIZE", "much"),
    ("migrate", "BILLING_TIME_ZONE", "Mars/Olympus"),
    ("migrate", "DATABASE_URL", "postgres://127.0.0.1:port/billing"),
    ("sandbox", "SANDBOX_LISTEN", "8090"),
    ("sandbox", "SANDBOX_PUBLIC_URL", "ftp://x"),
    ("sandbox", "SANDBOX_MAX_CONCURRENT", "0"),
    ("sandbox", "SANDBOX_LATENCY", "slow"),
    ("sandbox", "SANDBOX_LEDGER_FILE", "/nowhere/ledger"),
    ("sandbox", "SANDBOX_STRICT", "perhaps"),
    ("sandbox", "SANDBOX_NOTIFICATIONS_URL", "shop"),
    ("sandbox", "SANDBOX_NOTIFICATION_TIMEOUT", "soon"),
    ("sandbox", "SANDBOX_CLOCK_SPEED", "0"),
    ("standalone", "STANDALONE_DEMO", "perhaps"),
    ("migrate", "SEED", "2"),
    ("worker", "WORKER_PARKING", "never"),
    ("worker", "WORKER_DEDUPLICATE_SUCCESSFUL_TASKS", "perhaps"),
    ("worker", "WORKER_CONSUMER_TIMEOUT", "soon"),
    ("worker", "MAX_MESSAGE_SIZE", "1KiB"),
    ("api", "MAX_RESULT_SIZE", "1GiB"),
    ("worker", "HEALTH_LISTEN", "8070"),
    ("api", "DATABASE_URL", "postgres://"),
    ("worker", "DATABASE_URL", "postgresql:///"),
    ("migrate", "DATABASE_URL", "postgres://:5432"),
    ("demo", "DEMO_API_URL", "nonsense"),
    ("demo", "DEMO_SANDBOX_URL", "ftp://127.0.0.1"),
    ("demo", "DEMO_FRONTEND_TOKEN", "two words"),
    ("demo", "DEMO_PATIENCE", "long"),
    ("worker", "LOG", "a=b=c"),
    ("worker", "LOG_FORMAT", "xml"),
    ("worker", "SENTRY_DSN", "nonsense"),
    ("worker", "OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
    ("worker", "OTEL_TRACES_SAMPLER", "sometimes"),
    ("worker", "OTEL_TRACES_SAMPLER_ARG", "2"),
    ("standalone", "GATEWAY_URL", "ftp://127.0.0.1"),
    ("standalone", "BILLING_DATA_DIR", "/proc/nowhere"),
];

#[tokio::test]
async fn a_wrong_setting_ends_the_process_with_64_and_names_the_variable() {
    let directory = tempfile::tempdir().unwrap();
    for cases in WRONG.chunks(8) {
        let mut asked = Vec::new();
        for (role, variable, value) in cases {
            let process = Process::billing(&[role], |command| {
                command.env("SANDBOX_LISTEN", "127.0.0.1:0").env("API_LISTEN", "127.0.0.1:0");
                command.env("DASHBOARD_LISTEN", "127.0.0.1:0").env("ADMIN_LISTEN", "127.0.0.1:0");
                if *role == "standalone" {
                    command.env("NOTIFICATIONS_LISTEN", "127.0.0.1:0");
                }
                command.env("BILLING_DATA_DIR", directory.path()).env(variable, value);
            })
            .await;
            asked.push((role, variable, value, process));
        }
        for (role, variable, value, mut process) in asked {
            let ended = process.wait(PATIENCE).await;
            assert_eq!(ended.code(), Some(64), "{role} with {variable}={value}: {}", process.output());
            assert!(process.output().contains(variable), "{variable}={value}: {}", process.output());
        }
    }
}

#[tokio::test]
async fn an_address_that_no_server_can_have_ends_the_process_with_64_though_all_others_are_there() {
    let (database, vhost, redis) = tokio::join!(testkit::postgres(), testkit::rabbitmq(), testkit::redis());
    let mut elsewhere = url::Url::parse(database.url()).unwrap();
    elsewhere.set_path("/no_such_database");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "not ours").unwrap();
    for role in ["api", "worker", "beat"] {
        for (variable, value) in [
            ("DATABASE_URL", elsewhere.as_str()),
            ("BROKER_URL", "nonsense"),
            ("BROKER_URL", "sqs://127.0.0.1"),
            ("RESULT_BACKEND", "nonsense"),
            ("RESULT_BACKEND", "mongodb://127.0.0.1"),
            ("WORKER_STATEDB", file.path().to_str().unwrap()),
            ("WORKER_NAME", "w@%x"),
        ] {
            if variable.starts_with("WORKER") && role != "worker" {
                continue;
            }
            let mut process = Process::billing(&[role], |command| {
                command.env("DATABASE_URL", database.url()).env("BROKER_URL", vhost.amqp_url());
                command.env("RESULT_BACKEND", redis.url()).env("API_LISTEN", "127.0.0.1:0").env(variable, value);
            })
            .await;
            let ended = process.wait(PATIENCE).await;
            assert_eq!(ended.code(), Some(64), "{role} with {variable}={value}: {}", process.output());
            assert!(process.output().contains(variable), "{variable}={value}: {}", process.output());
        }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_out_of_reach_is_told_with_its_address_and_payments_wait_for_it() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    let gateway = format!("127.0.0.1:{}", testkit::free_port());
    let mut worker = system.worker_with("waiting", &[("GATEWAY_URL", &format!("http://{gateway}"))]).await;
    worker.wait_for_line(&gateway, PATIENCE).await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let payment = cinema.pay(&cinema.sign_up().await).await;
    worker.wait_for_line("payments wait for it", PATIENCE).await;

    let mut sandbox = Process::billing(&["sandbox"], |command| {
        command.env("SANDBOX_LISTEN", &gateway);
    })
    .await;
    sandbox.wait_for_line("listens", PATIENCE).await;
    worker.wait_for_line("the gateway answers", PATIENCE).await;
    assert_eq!(cinema.outcome(&payment.payment_id, PATIENCE).await.status(), PaymentStatus::Succeeded);
}
