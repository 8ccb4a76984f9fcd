//! A TCP proxy that listens.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// Passes bytes on between its clients and a server, and keeps them.
pub struct Tap {
    url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// Stands before the server of a URL.
    pub async fn on(server: &str) -> Self {
        let mut url = Url::parse(server).expect("a URL");
        let upstream = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        url.set_port(Some(listener.local_addr().expect("it is bound").port())).expect("a URL with a host");
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let keep = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.expect("the server is there");
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, Arc::clone(&keep)));
                tokio::spawn(pass(from_server, to_client, Arc::clone(&keep)));
            }
        });
        Self { url: url.into(), heard }
    }

    /// The URL of the server, through this.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All bytes so far, in both directions; what is no text is replaced.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().expect("nobody panics with it")).into_owned()
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, keep: Arc<Mutex<Vec<u8>>>) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        keep.lock().expect("nobody panics with it").extend_from_slice(&piece[..length]);
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
