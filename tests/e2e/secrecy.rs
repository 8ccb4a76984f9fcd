//! What nobody may read: not in the log of any process at its most talkative, not on the wire to RabbitMQ or Redis, not in
//! the database.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use billing_api::proto::PaymentStatus;
use billing_api::proto::period::Length;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::NoTls;
use url::Url;

use crate::cinema::{ASKS_THREE_DS, CARD, Cinema};
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(120);

/// Passes bytes on between its clients and a server, and keeps them.
struct Tap {
    url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    async fn on(server: &str) -> Self {
        let mut url = Url::parse(server).unwrap();
        let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let keep = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, Arc::clone(&keep)));
                tokio::spawn(pass(from_server, to_client, Arc::clone(&keep)));
            }
        });
        Self { url: url.into(), heard }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    keep: Arc<Mutex<Vec<u8>>>,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        keep.lock().unwrap().extend_from_slice(&piece[..length]);
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cryptogram_answer_of_a_bank_token_or_card_number_is_to_be_read_anywhere() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let (broker, results) = (Tap::on(&vhost.amqp_url()).await, Tap::on(redis.url()).await);
    let system = System::start_with(&broker.url, &results.url, "0ms", &[("LOG", "trace")]).await;
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
    assert!(logs.contains("TRACE") && logs.contains(&asks.payment_id), "the log is being watched");
    assert_none_is_told(&logs, &[&secrets[..], &keys[..]].concat(), "a log");
    for (tap, what) in [(&broker, "the wire to RabbitMQ"), (&results, "the wire to Redis")] {
        let heard = tap.heard();
        assert!(heard.contains(&asks.payment_id), "{what} is being watched");
        assert_none_is_told(&heard, &secrets, what);
    }
    assert_none_is_told(&dump(system.database_url()).await, &secrets, "the database");
}

#[track_caller]
fn assert_none_is_told(text: &str, secrets: &[String], what: &str) {
    for secret in secrets {
        let at = text.find(secret.as_str());
        let around =
            at.map(|at| text[..at].chars().rev().take(300).collect::<String>().chars().rev().collect::<String>());
        assert!(around.is_none(), "{secret} is in {what}, after {around:?}");
    }
}

/// Every row of the four tables as JSON.
async fn dump(url: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut all = String::new();
    for table in ["tariff", "account", "bill", "payment"] {
        for row in client.query(&format!("select to_jsonb(t)::text from {table} t"), &[]).await.unwrap() {
            all.push_str(row.get(0));
        }
    }
    assert!(all.contains("payment_token"), "the database is being watched");
    all
}
