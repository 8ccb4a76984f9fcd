//! Sockets that do not wait for ever.
//!
//! lapin drives each connection on a thread of its own. When nobody waits for the connection any more, because the
//! attempt has taken too long, that thread goes on waiting for a peer that is silent: one thread and one socket are
//! lost with every attempt. These sockets fail instead, and the thread ends.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

/// A runtime for lapin whose sockets give up when they cannot connect within `limit`, when nothing comes within
/// `limit` of connecting, and later when nothing comes for `silence` (for ever if `None`). `pulse` follows what comes.
pub(super) fn runtime(limit: Duration, silence: Option<Duration>, pulse: Pulse) -> Runtime<Impatient> {
    Runtime::new(Impatient { tokio: Tokio::current(), limit, silence, pulse })
}

/// When anything came last from the broker. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pulse {
    pub(super) fn last(&self) -> Instant {
        *self.0.lock()
    }
}

/// Tokio, but for its sockets.
#[derive(Clone, Debug)]
pub(super) struct Impatient {
    tokio: Tokio,
    limit: Duration,
    silence: Option<Duration>,
    pulse: Pulse,
}

impl RuntimeKit for Impatient {}

impl Executor for Impatient {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.tokio.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<Self::Task<T>> {
        self.tokio.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, work: F) -> Task<Self::Task<T>> {
        self.tokio.spawn_blocking(work)
    }
}

impl Reactor for Impatient {
    type TcpStream = Watched<<Tokio as Reactor>::TcpStream>;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// lapin does not use it, and the trait that would let us pass it on is private.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Self::TcpStream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, period: Duration) -> impl futures_util::Stream<Item = std::time::Instant> + Send + 'static {
        self.tokio.interval(period)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let (limit, silence, pulse) = (self.limit, self.silence, self.pulse.clone());
        let connecting = self.tokio.tcp_connect_addr(address);
        async move {
            let socket = timeout(limit, connecting).await.map_err(|_| silent(limit))??;
            Ok(Watched::new(socket, limit, silence, pulse))
        }
    }
}

/// A stream that fails when nothing comes.
///
/// A task of the runtime looks after that, because the thread that reads may outlive the runtime, and a timer that is polled
/// then panics: a program may end without having closed its connections.
pub(super) struct Watched<S> {
    stream: S,
    silence: Arc<Silence>,
    /// The patience after the first bytes; `None`: for ever.
    patience: Option<Duration>,
    pulse: Pulse,
    _watch: AbortOnDropHandle<()>,
}

/// What a stream and its watch know of each other.
struct Silence {
    heard: Mutex<Heard>,
    /// Whoever reads.
    reader: AtomicWaker,
}

struct Heard {
    /// When something came last, or the stream began.
    last: Instant,
    /// How long it may be silent from then on; `None`: for ever.
    patience: Option<Duration>,
    /// It was silent for so long, or `None` nobody looks after it any more.
    end: Option<Option<Duration>>,
}

impl<S> Watched<S> {
    fn new(stream: S, limit: Duration, patience: Option<Duration>, pulse: Pulse) -> Self {
        let heard = Heard { last: Instant::now(), patience: Some(limit), end: None };
        let silence = Arc::new(Silence { heard: Mutex::new(heard), reader: AtomicWaker::new() });
        let watch = AbortOnDropHandle::new(tokio::spawn(watch(Watch(Arc::clone(&silence)))));
        Self { stream, silence, patience, pulse, _watch: watch }
    }

    fn heard(&self) {
        let now = Instant::now();
        *self.pulse.0.lock() = now;
        let mut heard = self.silence.heard.lock();
        (heard.last, heard.patience) = (now, self.patience);
    }

    /// Ready when it was silent for too long.
    fn poll_silent(&self, context: &Context<'_>) -> Poll<io::Error> {
        self.silence.reader.register(context.waker());
        match self.silence.heard.lock().end {
            None => Poll::Pending,
            Some(Some(patience)) => Poll::Ready(silent(patience)),
            Some(None) => Poll::Ready(io::Error::new(io::ErrorKind::NotConnected, "the runtime has ended")),
        }
    }
}

/// Ends the stream when the watch goes, and if it goes with its runtime.
struct Watch(Arc<Silence>);

impl Watch {
    fn end(&self, why: Option<Duration>) {
        self.0.heard.lock().end.get_or_insert(why);
        self.0.reader.wake();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end(None);
    }
}

async fn watch(watch: Watch) {
    loop {
        let (last, patience) = {
            let heard = watch.0.heard.lock();
            (heard.last, heard.patience)
        };
        // Without heartbeats nothing is expected. The patience never changes back.
        let Some(patience) = patience else { return std::future::pending().await };
        let end = last + patience;
        if end <= Instant::now() {
            return watch.end(Some(patience));
        }
        sleep_until(end).await;
    }
}

fn silent(patience: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the broker was silent for {patience:?}"))
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_read(context, into) {
            Poll::Ready(read) => {
                self.heard();
                Poll::Ready(read)
            }
            Poll::Pending => self.poll_silent(context).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_fn;
    use tokio::time::advance;

    /// Has a byte to read each time it is told so.
    struct Peer(usize);

    impl AsyncRead for Peer {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            match self.0.checked_sub(1) {
                Some(rest) => {
                    self.0 = rest;
                    Poll::Ready(Ok(1))
                }
                None => Poll::Pending,
            }
        }
    }

    async fn read(stream: &mut Watched<Peer>) -> io::Result<usize> {
        poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut [0])).await
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_speaks_is_given_up() {
        let mut stream = Watched::new(Peer(0), seconds(10), None, Pulse::default());
        let began = Instant::now();
        assert_eq!(read(&mut stream).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_falls_silent_is_given_up_counted_from_its_last_word() {
        let pulse = Pulse::default();
        let mut stream = Watched::new(Peer(0), seconds(10), Some(seconds(30)), pulse.clone());
        for _ in 0..5 {
            advance(seconds(9)).await;
            stream.stream.0 = 1;
            assert_eq!(read(&mut stream).await.unwrap(), 1);
        }
        let began = Instant::now();
        assert_eq!(read(&mut stream).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 30);
        assert_eq!(pulse.last(), began, "silence is none of its beats");
    }

    #[tokio::test(start_paused = true)]
    async fn without_heartbeats_only_the_greeting_is_waited_for() {
        let mut stream = Watched::new(Peer(1), seconds(10), None, Pulse::default());
        assert_eq!(read(&mut stream).await.unwrap(), 1);
        assert!(timeout(seconds(1_000_000), read(&mut stream)).await.is_err(), "it waits for ever");
    }
}
