//! A TCP proxy that fails on command.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use url::Url;

use crate::free_port;

/// Stands between a client and a server on this machine and passes bytes on, until told otherwise.
///
/// | | connections that are open | new ones |
/// |---|---|---|
/// | [`cut`](Self::cut) | reset | pass |
/// | [`pause`](Self::pause) | stay open, nothing arrives any more | likewise |
/// | [`delay`](Self::delay) | every piece arrives later | likewise |
/// | [`refuse`](Self::refuse) | go on | refused |
/// | [`lead_to`](Self::lead_to) | go on | pass to another server |
///
/// An end or a reset by one side reaches the other. Everything ends with this value.
pub struct FaultProxy {
    address: SocketAddr,
    line: Arc<Line>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// What all connections share.
struct Line {
    upstream: Mutex<String>,
    weather: watch::Sender<Weather>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

#[derive(Clone, Copy, Default)]
struct Weather {
    paused: bool,
    delay: Duration,
    /// How often all connections were cut.
    cuts: u64,
}

impl FaultProxy {
    /// Listens on a free port for a server at `upstream`: `host:port`, or a URL that has both. The server need not
    /// be there yet: without it, connections are reset.
    pub async fn start(upstream: &str) -> Self {
        let proxy = Self {
            address: (Ipv4Addr::LOCALHOST, free_port()).into(),
            line: Arc::new(Line {
                upstream: Mutex::new(address_of(upstream)),
                weather: watch::Sender::default(),
                accepted: AtomicUsize::new(0),
                open: AtomicUsize::new(0),
            }),
            listener: Mutex::new(None),
        };
        proxy.accept().await;
        proxy
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The same URL, but through the proxy.
    pub fn url(&self, upstream: &str) -> String {
        let mut url = Url::parse(upstream).expect("a URL");
        url.set_ip_host(self.address.ip()).expect("a URL with a host");
        url.set_port(Some(self.address.port())).expect("a URL with a host");
        url.into()
    }

    /// From now on new connections lead elsewhere, as after a change of a name; those that are open stay where they are.
    pub async fn lead_to(&self, upstream: &str) {
        *self.line.upstream.lock().await = address_of(upstream);
    }

    /// Resets every connection that is open by now ([`open`](Self::open) counts them).
    pub fn cut(&self) {
        self.line.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// From now on bytes vanish into a hole: nothing arrives on either side, nobody is told.
    pub fn pause(&self) {
        self.line.weather.send_modify(|weather| weather.paused = true);
    }

    /// Ends a pause; what was sent meanwhile arrives.
    pub fn resume(&self) {
        self.line.weather.send_modify(|weather| weather.paused = false);
    }

    /// Every piece that is read (up to 64 KiB) is held that long, in each direction. Zero ends it.
    pub fn delay(&self, delay: Duration) {
        self.line.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Closes the port: new connections are refused as if no server ran. Effective when this returns.
    pub async fn refuse(&self) {
        if let Some(listener) = self.listener.lock().await.take() {
            listener.abort();
            // Cancelled, as asked; the socket is closed by now.
            let _ = listener.await;
        }
    }

    /// Opens the port again after [`refuse`](Self::refuse).
    pub async fn accept(&self) {
        let mut listener = self.listener.lock().await;
        if listener.is_none() {
            let socket = TcpListener::bind(self.address).await.expect("the port of this proxy is free");
            *listener = Some(tokio::spawn(serve(socket, Arc::clone(&self.line))));
        }
    }

    /// Connections now open.
    pub fn open(&self) -> usize {
        self.line.open.load(Ordering::SeqCst)
    }

    /// Connections ever accepted: one more than before means that somebody came back.
    pub fn accepted(&self) -> usize {
        self.line.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get_mut().take() {
            listener.abort();
        }
        self.cut();
    }
}

/// `host:port`, or that of a URL.
fn address_of(upstream: &str) -> String {
    Url::parse(upstream)
        .ok()
        .and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)))
        .unwrap_or_else(|| upstream.to_owned())
}

async fn serve(listener: TcpListener, line: Arc<Line>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors, or a client that has gone: the next one may do better.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        line.accepted.fetch_add(1, Ordering::SeqCst);
        line.open.fetch_add(1, Ordering::SeqCst);
        // Subscribed here: a cut after this connection was accepted is for it.
        let weather = line.weather.subscribe();
        let line = Arc::clone(&line);
        tokio::spawn(async move {
            let upstream = line.upstream.lock().await.clone();
            connection(client, &upstream, weather).await;
            line.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// One connection, until both sides have ended it, one has reset it, or it is cut.
async fn connection(mut client: TcpStream, upstream: &str, mut weather: watch::Receiver<Weather>) {
    let cuts = weather.borrow_and_update().cuts;
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return reset(&client);
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let in_order = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let requests = pump(client_read, server_write, weather.clone(), cuts);
        let replies = pump(server_read, client_write, weather.clone(), cuts);
        tokio::select! {
            ended = async { tokio::try_join!(requests, replies) } => ended.is_ok(),
            _ = weather.wait_for(|weather| weather.cuts != cuts) => false,
        }
    };
    if !in_order {
        reset(&client);
        reset(&server);
    }
}

/// Makes the drop of a socket send a reset and forget what was not sent.
fn reset(socket: &TcpStream) {
    // Fails for a socket that is gone already.
    let _ = socket.set_zero_linger();
}

/// One direction, until its end. Nothing that was written after a cut arrives, however busy the machine is.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
    cuts: u64,
) -> io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut piece).await?;
        if weather.borrow().cuts != cuts {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // The sender ends with the proxy, which cuts.
        let _ = weather.wait_for(|weather| !weather.paused).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}
