//! Asks `RabbitMQ`'s management API what no client is told: the limit that a policy gives a queue.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use url::Url;

use super::renewal::NEEDED_LIMIT;
use super::shared::Shared;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is told of a queue that was just declared is not complete for some seconds.
const ATTEMPTS: usize = 15;
const PAUSE: Duration = Duration::from_secs(1);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// Where the management API is.
pub(super) struct Management {
    host: String,
    port: u16,
    /// What stands before `/api`.
    path: String,
    /// Of the header `authorization`.
    credentials: SecretString,
}

impl Management {
    /// # Errors
    /// What is wrong with the address, without its password.
    pub(super) fn new(address: &str) -> Result<Self, String> {
        let url = Url::parse(address).map_err(|error| format!("the address of the management API: {error}"))?;
        if url.scheme() != "http" {
            return Err(format!("the management API is asked over http://, not {}://", url.scheme()));
        }
        let host = url.host_str().ok_or("the address of the management API names no host")?.to_owned();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let account = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
        Ok(Self {
            host,
            port: url.port().unwrap_or(15672),
            path: url.path().trim_end_matches('/').to_owned(),
            credentials: format!("Basic {}", STANDARD.encode(account)).into(),
        })
    }

    /// The limit that policies give a queue, if they do.
    async fn delivery_limit(&self, virtual_host: &str, queue: &str) -> Result<Option<i64>, String> {
        let answer = timeout(PATIENCE, self.ask(virtual_host, queue)).await;
        let answer =
            answer.map_err(|_| format!("no answer within {PATIENCE:?}"))?.map_err(|error| error.to_string())?;
        read(&answer)
    }

    async fn ask(&self, virtual_host: &str, queue: &str) -> std::io::Result<Vec<u8>> {
        let Self { host, port, path, credentials } = self;
        let escaped = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let (virtual_host, queue) = (escaped(virtual_host), escaped(queue));
        // The answer of HTTP 1.0 ends with the connection.
        let request = format!(
            "GET {path}/api/queues/{virtual_host}/{queue} HTTP/1.0\r\nhost: {host}:{port}\r\nauthorization: {}\r\n\r\n",
            credentials.expose_secret()
        );
        let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), *port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

/// The limit in the description of a queue.
fn read(answer: &[u8]) -> Result<Option<i64>, String> {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("this is no answer of HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(status.to_owned());
    }
    let queue: serde_json::Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let policy = queue.get("effective_policy_definition").ok_or("it does not tell of policies yet")?;
    Ok(policy["delivery-limit"].as_i64())
}

/// Says so if a policy lets a quorum queue drop messages sooner than they can be renewed.
pub(super) fn look_at_policy(shared: &Arc<Shared>, queue: &str) {
    if shared.management.is_none() {
        return;
    }
    let (shared, queue) = (Arc::clone(shared), queue.to_owned());
    tokio::spawn(async move {
        let stop = shared.stop.clone();
        stop.run_until_cancelled(compare(&shared, &queue)).await;
    });
}

async fn compare(shared: &Shared, queue: &str) {
    let Some(management) = &shared.management else { return };
    let virtual_host = virtual_host(shared.app.broker().address());
    for attempt in 1..=ATTEMPTS {
        match management.delivery_limit(virtual_host, queue).await {
            Ok(Some(limit)) if (0..NEEDED_LIMIT.into()).contains(&limit) => {
                tracing::warn!(
                    queue,
                    limit,
                    needed = NEEDED_LIMIT,
                    "a policy (delivery-limit) lets the queue drop messages that came back so often, whether or not they \
                     began: raise it"
                );
                return;
            }
            Ok(_) => return,
            Err(reason) if attempt == ATTEMPTS => {
                tracing::warn!(queue, reason, "the management API does not tell which policy the queue has");
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// The virtual host in the address of a broker as it is shown.
fn virtual_host(address: &str) -> &str {
    let first = address.split(";amqp").next().unwrap_or_default();
    let behind = first.split_once("://").map_or(first, |(_, behind)| behind);
    behind.split_once('/').map_or("/", |(_, virtual_host)| virtual_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_a_policy_is_read() {
        let answer =
            |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{body}").into_bytes();
        let limited = answer(r#"{"arguments":{},"effective_policy_definition":{"delivery-limit":8}}"#);
        assert_eq!(read(&limited), Ok(Some(8)));
        assert_eq!(read(&answer(r#"{"effective_policy_definition":{}}"#)), Ok(None));
        assert_eq!(read(&answer(r#"{"effective_policy_definition":[]}"#)), Ok(None));
        assert_eq!(read(b"HTTP/1.1 401 Unauthorized\r\n\r\n"), Err("HTTP/1.1 401 Unauthorized".to_owned()));
        assert!(read(&answer(r#"{"arguments":{}}"#)).is_err(), "the queue is new");
        assert!(read(b"SSH-2.0").is_err());
    }

    #[test]
    fn an_address_is_read_and_a_wrong_one_is_told_without_its_password() {
        let management = Management::new("http://us%40er:pa%3Ass@[::1]:8080/rabbit/").unwrap();
        assert_eq!((management.host.as_str(), management.port, management.path.as_str()), ("[::1]", 8080, "/rabbit"));
        assert_eq!(management.credentials.expose_secret(), "Basic dXNAZXI6cGE6c3M=");
        let error = Management::new("https://user:secret@host").err().unwrap();
        assert!(error.contains("http://") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn the_virtual_host_is_that_of_the_brokers_address() {
        for (address, expected) in [
            ("amqp://guest@localhost:5672//", "/"),
            ("amqp://guest@localhost:5672/shop", "shop"),
            ("amqps://u@[::1]:5671/a/b;amqps://u@two:5671/a/b", "a/b"),
        ] {
            assert_eq!(virtual_host(address), expected);
        }
    }
}
