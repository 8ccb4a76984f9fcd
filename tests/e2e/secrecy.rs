//! What nobody may read: not in the log of any process at its most talkative, not on the wire to RabbitMQ or Redis, not in
//! the database.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use billing_api::proto::PaymentStatus;
use billing_api::proto::period::Length;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use testkit::{OwnServer, Process, Tap};
use tokio_postgres::NoTls;
use url::Url;

use crate::cinema::{ASKS_THREE_DS, CARD, Cinema};
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn no_cryptogram_answer_of_a_bank_token_or_card_number_is_to_be_read_anywhere() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let (broker, results) = (Tap::on(&vhost.amqp_url()).await, Tap::on(redis.url()).await);
    let system = System::start_with(broker.url(), results.url(), "0ms", &[("LOG", "trace")]).await;
    let mut worker = system.worker("talkative").await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;

    // A first payment with the bank's page, and one that is renewed by its token.
    let (first, second) = (cinema.sign_up().await, cinema.sign_up().await);
    let cryptograms = [cinema.cryptogram(ASKS_THREE_DS).await, cinema.cryptogram(CARD).await];
    let asks = cinema.buy_with(&first, &cryptograms[0], Length::Months(1)).await;
    let answer = cinema.answered(&asks, PATIENCE).await;
    cinema.submit(&asks.payment_id, &answer).await;
    let renews = cinema.buy_with(&second, &cryptograms[1], Length::Days(1)).await;
    for payment in [&asks, &renews] {
        assert_eq!(cinema.outcome(&payment.payment_id, PATIENCE).await.status(), PaymentStatus::Succeeded);
    }
    let (database, connection) = tokio_postgres::connect(system.database_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    cinema.ends_today(&database, &renews.account_id).await;
    testkit::eventually(PATIENCE, async || cinema.successes_by_bill().await.len() == 3).await;
    worker.wait_for_line("billing.charge_renewal", PATIENCE).await;
    let tokens = cinema.tokens().await;
    assert_eq!(tokens.len(), 2);

    let mut secrets = vec![answer.1, ASKS_THREE_DS.to_owned(), CARD.to_owned()];
    secrets.extend(cryptograms);
    secrets.extend(tokens);
    let keys = ["frontend-dev", "auth-dev", "sk_sandbox"].map(str::to_owned);

    let logs = [system.output(), worker.output()].concat();
    assert!(logs.contains("DEBUG") && logs.contains(&asks.payment_id), "the log is being watched");
    assert_none_is_told(&logs, &[&secrets[..], &keys[..]].concat(), "a log");
    for (tap, what) in [(&broker, "the wire to RabbitMQ"), (&results, "the wire to Redis")] {
        let heard = tap.heard();
        assert!(heard.contains(&asks.payment_id), "{what} is being watched");
        assert_none_is_told(&heard, &secrets, what);
    }
    assert_none_is_told(&dump(system.database_url()).await, &secrets, "the database");
}

/// A password in which every character is one that cuts an address, a line or a shell's word short.
const PASSWORD: &str = r#"p#a?s@s:w/o%r d'q"u\o&t=e+s;${[<"#;

/// PostgreSQL, RabbitMQ and Redis, each with a user of this password; their addresses.
async fn guarded_servers() -> ([OwnServer; 3], [String; 3]) {
    let servers = tokio::join!(testkit::own_postgres(), testkit::own_rabbitmq(), testkit::own_redis());
    let (postgres, rabbitmq, redis) = &servers;
    let (client, connection) = tokio_postgres::connect(postgres.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let literal = PASSWORD.replace('\'', "''");
    client
        .batch_execute(&format!(
            "set standard_conforming_strings = on; create role guarded superuser login password '{literal}'"
        ))
        .await
        .unwrap();
    rabbitmq.rabbitmqctl(&["add_user", "guarded", PASSWORD]).await;
    rabbitmq.rabbitmqctl(&["set_permissions", "guarded", ".*", ".*", ".*"]).await;
    let mut connection = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let user = ["SETUSER", "guarded", "on", "~*", "&*", "+@all", &format!(">{PASSWORD}")];
    redis::cmd("ACL").arg(&user).query_async::<()>(&mut connection).await.unwrap();

    let password = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC).to_string();
    let guarded = |url: &str| {
        let mut url = Url::parse(url).unwrap();
        url.set_username("guarded").unwrap();
        url.set_password(Some("PASSWORD")).unwrap();
        url.as_str().replace("PASSWORD", &password)
    };
    let urls = [guarded(postgres.url()), guarded(rabbitmq.url()), guarded(redis.url())];
    (servers.into(), urls)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_of_a_server_is_to_be_read_in_a_log_in_any_spelling() {
    let (_servers, [database, broker, results]) = guarded_servers().await;
    let settings = [
        ("LOG", "trace,lapin=trace,amq_protocol_tcp=trace,tokio_postgres=trace,redis=trace"),
        ("DATABASE_URL", &database),
    ];
    let system = System::start_with(&broker, &results, "0ms", &settings).await;
    let mut worker = system.worker("guarded").await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let payment = cinema.pay(&cinema.sign_up().await).await;
    assert_eq!(cinema.outcome(&payment.payment_id, PATIENCE).await.status(), PaymentStatus::Succeeded);
    worker.wait_for_line(&payment.payment_id, PATIENCE).await;
    let logs = [system.output(), worker.output()].concat();
    assert!(logs.contains(&payment.payment_id), "the log is being watched");
    assert_none_is_told(&logs, &[PASSWORD.to_owned()], "a log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_used_is_told_without_its_password() {
    let (database, vhost, redis) = tokio::join!(testkit::postgres(), testkit::rabbitmq(), testkit::redis());
    let nobody = format!("127.0.0.1:{}", testkit::free_port());
    // As it has to be written in an address, and as people write it.
    let encoded = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC).to_string();
    let raw = ["p#ssw0rd", "p?ssw0rd", "p/ssw0rd", "p:ssw0rd", "p ssw0rd", "p%ssw0rd", "p\"ssw0rd", "p@ssw0rd"];
    let mut cases: Vec<_> = raw.iter().map(|password| (*password, (*password).to_owned())).collect();
    cases.push((PASSWORD, encoded));
    for (password, written) in cases {
        let mut asked = Vec::new();
        for (variable, scheme) in [("DATABASE_URL", "postgres"), ("BROKER_URL", "amqp"), ("RESULT_BACKEND", "redis")] {
            let value = format!("{scheme}://user:{written}@{nobody}/0");
            let process = Process::billing(&["worker"], |command| {
                command.env("DATABASE_URL", database.url()).env("BROKER_URL", vhost.amqp_url());
                command.env("RESULT_BACKEND", redis.url()).env("CONNECT_WITHIN", "1s").env("LOG", "trace");
                command.env(variable, &value);
            })
            .await;
            asked.push((variable, process));
        }
        for (variable, mut process) in asked {
            let code = process.wait(PATIENCE).await.code();
            assert!(matches!(code, Some(64 | 69)), "{variable}: {code:?} {}", process.output());
            // What follows the character is enough to be known by.
            for secret in [password, &password[1..], &password[2..]] {
                assert_none_is_told(&process.output(), &[secret.to_owned()], variable);
            }
        }
    }
}

/// The ways in which bytes come to be printed: as they are, escaped, as in an address, as Rust shows a list of bytes, in
/// hexadecimal digits, in base64.
fn spellings(secret: &str) -> Vec<String> {
    let decimals: Vec<_> = secret.bytes().map(|byte| byte.to_string()).collect();
    let hex = |separator: &str| secret.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator);
    let mut all = vec![
        secret.to_owned(),
        secret.escape_debug().to_string(),
        secret.escape_default().to_string(),
        secret.as_bytes().escape_ascii().to_string(),
        serde_json::to_string(secret).unwrap().trim_matches('"').to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        decimals.join(", "),
        decimals.join(","),
        hex(""),
        hex("").to_uppercase(),
        hex(" "),
        hex(", "),
    ];
    // In base64 it looks different by where in three bytes it begins; its ends are mixed with what is beside it.
    for before in 0..3 {
        let text = BASE64_STANDARD.encode([&vec![0; before][..], secret.as_bytes()].concat());
        let inner = &text[(before * 4).div_ceil(3)..text.trim_end_matches('=').len() - 1];
        all.extend([inner.to_owned(), inner.replace('+', "-").replace('/', "_")]);
    }
    all
}

#[test]
fn a_secret_is_found_in_every_spelling() {
    for printed in [
        format!("{:?}", "x\"secret\"y"),
        format!("{:?}", b"xsecrety"),
        format!("{:?}", [&b"x"[..], b"secret", b"y"].concat()),
        BASE64_STANDARD.encode("xsecrety"),
        BASE64_STANDARD.encode("xxsecret"),
        BASE64_STANDARD.encode("secretyy"),
        "73656372657 73 65 63 72 65 74".to_owned(),
    ] {
        assert!(spellings("secret").iter().any(|spelling| printed.contains(spelling)), "{printed}");
    }
    assert!(!spellings("secret").iter().any(|spelling| "nothing of the kind: 115, 101".contains(spelling)));
}

#[track_caller]
pub(crate) fn assert_none_is_told(text: &str, secrets: &[String], what: &str) {
    for secret in secrets {
        for spelling in spellings(secret) {
            let at = text.find(&spelling);
            let around =
                at.map(|at| text[..at].chars().rev().take(300).collect::<String>().chars().rev().collect::<String>());
            assert!(around.is_none(), "{secret} is in {what} as {spelling}, after {around:?}");
        }
    }
}

/// Every row of the tables as JSON.
async fn dump(url: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut all = String::new();
    for table in ["tariff", "account", "card", "bill", "payment", "event", "gateway_call"] {
        for row in client.query(&format!("select to_jsonb(t)::text from {table} t"), &[]).await.unwrap() {
            all.push_str(row.get(0));
        }
    }
    assert!(all.contains("payment_token") && all.contains("/payments/cards/post3ds"), "the database is being watched");
    all
}
