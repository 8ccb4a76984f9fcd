//! A real `PostgreSQL` inside this process, with its files in a directory of ours.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use pglite_oxide::PgliteServer;
use tokio::io::{AsyncWriteExt as _, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

/// A running embedded server. It serves one connection at a time, so the pool on it holds one.
pub(super) struct EmbeddedPostgres {
    server: PgliteServer,
    url: Url,
    relay: JoinHandle<()>,
}

impl EmbeddedPostgres {
    /// Starts the server on a free port of the loopback interface; the first start lays out the files.
    pub(super) async fn start(directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.to_owned();
        let server = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("cannot make {} (BILLING_DATA_DIR)", directory.display()))?;
            PgliteServer::builder().path(&directory).start().with_context(|| {
                format!(
                    "cannot start the embedded PostgreSQL in {} (BILLING_DATA_DIR); does another process use it?",
                    directory.display()
                )
            })
        })
        .await??;
        let address = server.tcp_addr().context("the embedded PostgreSQL does not listen")?;
        let listener = TcpListener::bind(SocketAddr::new(address.ip(), 0)).await?;
        let mut url = Url::parse(&server.database_url())?;
        url.set_port(Some(listener.local_addr()?.port())).ok().context("the embedded PostgreSQL has no port")?;
        Ok(Self { server, url, relay: tokio::spawn(relay(listener, address)) })
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Stops the server. All clients must have gone before.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let stopped = tokio::task::spawn_blocking(move || self.server.shutdown()).await?;
        self.relay.abort();
        stopped
    }
}

/// Stands before the server, which ends for good when one of its connections is reset – as happens when a client gives up
/// waiting on a slow machine. Here every connection ends in order.
async fn relay(listener: TcpListener, server: SocketAddr) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            if let Err(error) = pass(client, server).await {
                tracing::debug!(%error, "a connection to the embedded PostgreSQL ended");
            }
        });
    }
}

async fn pass(client: TcpStream, server: SocketAddr) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let requests = async {
        let passed = copy(&mut from_client, &mut to_server).await;
        to_server.shutdown().await.and(passed.map(drop))
    };
    let replies = async {
        if copy(&mut from_server, &mut to_client).await.is_err() {
            // Nobody listens any more, but the server must get rid of what it has to say.
            copy(&mut from_server, &mut sink()).await?;
        }
        to_client.shutdown().await
    };
    let (requests, replies) = tokio::join!(requests, replies);
    requests.and(replies)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_client_that_breaks_off_is_to_the_server_one_that_leaves_in_order() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay = tokio::spawn(relay(listener, server.local_addr().unwrap()));

        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let (mut session, _) = server.accept().await.unwrap();
        session.read_exact(&mut [0; 5]).await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client); // a reset

        let mut rest = Vec::new();
        assert_eq!(session.read_to_end(&mut rest).await.unwrap(), 0, "an end, not a reset");
        session.write_all(&[0; 1_000_000]).await.unwrap();
        assert_eq!(session.read(&mut [0; 5]).await.unwrap(), 0, "still no reset");
        relay.abort();
    }
}
