//! A Redis database per test.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use url::Url;

use crate::environment::setting;

/// `services.sh` configures as many; number 0 counts those given out.
const DATABASES: u64 = 4096;

/// A database number of the test's own, empty at the start. Pub/sub channels are not divided by databases: name them
/// after something unique, as Celery's are.
pub struct RedisDb {
    url: String,
}

impl RedisDb {
    /// `redis://127.0.0.1:port/number`
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Takes the next database number and empties it.
pub async fn redis() -> RedisDb {
    let url = Url::parse(&setting("TEST_REDIS_URL")).expect("TEST_REDIS_URL is a URL");
    let taken = command(&url, "INCR testkit:databases").await.trim_start_matches(':').parse::<u64>();
    let number = 1 + taken.expect("INCR answers with a number") % (DATABASES - 1);
    assert_eq!(command(&url, &format!("SELECT {number}\r\nFLUSHDB")).await, "+OK");
    RedisDb { url: url.join(&number.to_string()).expect("a number is a path").into() }
}

/// Sends commands in the inline form of Redis, one a line, and returns the last answer.
async fn command(server: &Url, lines: &str) -> String {
    let address = (server.host_str().expect("a host"), server.port().unwrap_or(6379));
    let stream = TcpStream::connect(address).await.expect("TEST_REDIS_URL answers");
    let mut stream = BufReader::new(stream);
    stream.write_all(format!("{lines}\r\n").as_bytes()).await.expect("Redis reads");
    let mut answer = String::new();
    for _ in lines.lines() {
        answer.clear();
        stream.read_line(&mut answer).await.expect("Redis answers");
        assert!(!answer.starts_with('-'), "Redis refuses {lines:?}: {answer}");
    }
    answer.trim_end().to_owned()
}
