//! A gateway of bytes: an HTTP server small enough to misbehave at will.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use cloudpayments::{Client, ClientConfig, RequestId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What to do with a request.
pub(crate) enum Reply {
    /// A complete answer.
    Answer(u16, String),
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, then nothing more, but the connection stays open.
    Hang(Vec<u8>),
    /// These bytes, then others without end.
    Flood(Vec<u8>),
}

type Handler = Arc<dyn Fn(Recorded) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// Listens until dropped.
pub(crate) struct Gateway {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Recorded>>>,
    server: JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn start<F, Replying>(handler: F) -> Self
    where
        F: Fn(Recorded) -> Replying + Send + Sync + 'static,
        Replying: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        let server = tokio::spawn(accept(listener, Arc::clone(&requests), handler));
        Self { address, requests, server }
    }

    /// The same to everything.
    pub(crate) async fn replying(reply: fn() -> Reply) -> Self {
        Self::start(move |_| async move { reply() }).await
    }

    /// The same complete answer to everything.
    pub(crate) async fn answering(status: u16, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_| {
            let body = body.clone();
            async move { Reply::Answer(status, body) }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap().clone()
    }

    /// The one request there was.
    pub(crate) fn request(&self) -> Recorded {
        let [request] = <[Recorded; 1]>::try_from(self.requests()).expect("exactly one request");
        request
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(config(self.url())).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Settings nothing in a test runs into.
pub(crate) fn config(base_url: String) -> ClientConfig {
    ClientConfig {
        base_url,
        public_id: "pk_test".to_owned(),
        api_secret: "sk_test".into(),
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(20),
        max_in_flight: 5,
    }
}

pub(crate) fn request_id(key: &str) -> RequestId {
    RequestId::new(key).unwrap()
}

async fn accept(listener: TcpListener, requests: Arc<Mutex<Vec<Recorded>>>, handler: Handler) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, Arc::clone(&requests), Arc::clone(&handler)));
    }
}

/// None at the end of the connection, whoever ended it.
async fn serve(mut stream: TcpStream, requests: Arc<Mutex<Vec<Recorded>>>, handler: Handler) -> Option<()> {
    loop {
        let request = read_request(&mut stream).await?;
        requests.lock().unwrap().push(request.clone());
        match handler(request).await {
            Reply::Answer(status, body) => {
                let length = body.len();
                let answer = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.ok()?;
            }
            Reply::Bytes(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                return None;
            }
            Reply::Hang(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.read_u8().await.ok()?;
            }
            Reply::Flood(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                loop {
                    stream.write_all(&[b' '; 16 * 1024]).await.ok()?;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Recorded> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let mut request_line = lines.next().unwrap().split(' ');
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut request = Recorded {
        method: request_line.next().unwrap().to_owned(),
        path: request_line.next().unwrap().to_owned(),
        headers,
        body: Vec::new(),
    };
    let length = request.header("Content-Length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).await.ok()?;
    Some(request)
}
