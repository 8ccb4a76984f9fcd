//! A flood of the gateway's notifications, every second one forged: how long a genuine one waits for its reply, how the memory of
//! the API stands before and after, and that no forged one has an effect.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::payments::system::{Database, answers, free_address, role};
use crate::process::resident_megabytes;
use crate::renewals::{fill, stop};
use crate::servers::Servers;

const API_SECRET: &str = "bench-only";
/// How many connections the gateway has.
const CONNECTIONS: usize = 64;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Flooded {
    /// Notifications a second that were replied to, forged ones included.
    pub rate: f64,
    /// Milliseconds from the time at which a genuine one was due to its reply.
    pub p50: f64,
    pub p99: f64,
    /// Megabytes that the API has resident once a tenth of the flood is over, and at its end.
    pub memory_at_a_tenth: f64,
    pub memory_at_the_end: f64,
}

/// A payment that was made, as the gateway knows it.
#[derive(Clone)]
struct Paid {
    invoice_no: String,
    transaction_id: String,
    account_id: String,
    payment_id: String,
}

/// Sends `count` notifications, `rate` of them a second.
pub async fn flood(servers: &Servers, count: usize, rate: f64) -> Result<Flooded> {
    let database = Database::migrated(servers).await?;
    fill(&database, count.div_ceil(2), "now() - interval '1 hour'").await?;
    let paid = payments(&database, count.div_ceil(2)).await?;
    let (api, address) = (free_address()?, free_address()?);
    let settings = [
        ("DATABASE_URL", database.url.as_str()),
        ("BROKER_URL", servers.amqp.as_str()),
        ("RESULT_BACKEND", servers.redis.as_str()),
        ("API_LISTEN", api.as_str()),
        ("API_TOKENS", "bench:bench-only:events"),
        ("NOTIFICATIONS_LISTEN", address.as_str()),
        ("NOTIFICATIONS_API_SECRETS", API_SECRET),
        ("NOTIFICATIONS_TERMINAL", "test"),
        ("LOG", "error"),
    ];
    let mut server = role(&settings, &["api"])?;
    answers(&address).await?;
    let pid = server.id().context("it runs")?;
    let mut gateway = JoinSet::new();
    let began = Instant::now();
    for n in 0..CONNECTIONS {
        // Each takes every so-manieth, at the time at which it is due.
        let mine = paid.iter().cloned().enumerate().skip(n).step_by(CONNECTIONS).collect();
        gateway.spawn(tell(address.clone(), mine, began, rate));
    }
    sleep_until(began + Duration::from_secs_f64(count as f64 / rate / 10.0)).await;
    let memory_at_a_tenth = resident_megabytes(&[pid])?;
    let mut waits = Vec::with_capacity(paid.len());
    while let Some(told) = gateway.join_next().await {
        waits.extend(told??);
    }
    let took = began.elapsed();
    let memory_at_the_end = resident_megabytes(&[pid])?;
    stop(&mut server).await?;
    check(&database, paid.len()).await?;
    database.drop().await?;
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    let rate = (paid.len() * 2) as f64 / took.as_secs_f64();
    Ok(Flooded { rate, p50: at(0.5), p99: at(0.99), memory_at_a_tenth, memory_at_the_end })
}

async fn payments(database: &Database, count: usize) -> Result<Vec<Paid>> {
    let query = format!(
        "select string_agg(concat_ws(',', invoice_no, transaction_id, account_id, id), ' ') from (
             select p.invoice_no, p.transaction_id, b.account_id, p.id from payment p join bill b on b.id = p.bill_id
             order by p.id limit {count}) as paid"
    );
    let rows = database.text(&query).await?;
    let paid = rows.split(' ').filter_map(|row| {
        let mut fields = row.split(',').map(str::to_owned);
        Some(Paid {
            invoice_no: fields.next()?,
            transaction_id: fields.next()?,
            account_id: fields.next()?,
            payment_id: fields.next()?,
        })
    });
    Ok(paid.collect())
}

/// One forged refund and one genuine payment of each; returns how long the genuine ones have waited, in milliseconds.
async fn tell(address: String, paid: Vec<(usize, Paid)>, began: Instant, rate: f64) -> Result<Vec<f64>> {
    let (genuine, forger) =
        (hmac::Key::new(hmac::HMAC_SHA256, API_SECRET.as_bytes()), hmac::Key::new(hmac::HMAC_SHA256, b"guessed"));
    let mut connection = TcpStream::connect(&address).await?;
    connection.set_nodelay(true)?;
    let mut waits = Vec::with_capacity(paid.len());
    for (n, paid) in paid {
        let due = began + Duration::from_secs_f64(2.0 * n as f64 / rate);
        sleep_until(due).await;
        let Paid { invoice_no, transaction_id, account_id, payment_id } = paid;
        let refund = format!(
            "TransactionId=7{n}&PaymentTransactionId={transaction_id}&Amount=1.00&OperationType=Refund&\
             DateTime=2026-11-01%2000%3A00%3A05&InvoiceId={invoice_no}&AccountId={account_id}"
        );
        let status = post(&mut connection, &address, "refund", &refund, &forger).await?;
        ensure!(status == 401, "a forged notification is replied to with {status}");
        let pay = format!(
            "TransactionId={transaction_id}&Amount=399.00&Currency=RUB&PaymentAmount=399.00&PaymentCurrency=RUB&\
             DateTime=2026-11-01%2000%3A00%3A05&CardFirstSix=424242&CardLastFour=4242&CardType=Visa&CardExpDate=12%2F30&\
             TestMode=1&Status=Completed&OperationType=Payment&GatewayName=Test&InvoiceId={invoice_no}&\
             AccountId={account_id}&Data=%7B%22payment_id%22%3A%22{payment_id}%22%7D"
        );
        let status = post(&mut connection, &address, "pay", &pay, &genuine).await?;
        ensure!(status == 200, "a genuine notification is replied to with {status}");
        waits.push(due.elapsed().as_secs_f64() * 1e3);
    }
    Ok(waits)
}

async fn post(connection: &mut TcpStream, host: &str, kind: &str, body: &str, key: &hmac::Key) -> Result<u16> {
    let signature = STANDARD.encode(hmac::sign(key, body.as_bytes()));
    let request = format!(
        "POST /notifications/{kind} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-HMAC: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    let mut piece = [0_u8; 1_024];
    loop {
        let read = connection.read(&mut piece).await?;
        ensure!(read > 0, "the connection was closed");
        response.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&response);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let Some(length): Option<usize> = length else { bail!("a response without a length: {head}") };
        if body.len() >= length {
            return head.split(' ').nth(1).context("no status")?.parse().context("no status");
        }
    }
}

/// What was genuine is in the inbox, once, and what was forged nowhere.
async fn check(database: &Database, genuine: usize) -> Result<()> {
    let genuine = i64::try_from(genuine)?;
    for (what, query, expected) in [
        ("notifications in the inbox", "select count(*) from notification where kind = 'pay'", genuine),
        ("of another kind", "select count(*) from notification where kind <> 'pay'", 0),
        ("refunds", "select count(*) from refund", 0),
        ("orphans", "select count(*) from orphan", 0),
        ("without an effect", "select count(*) from notification where effect is null", 0),
    ] {
        let counted = database.count(query).await?;
        ensure!(counted == expected, "{counted} {what}, not {expected}");
    }
    Ok(())
}
