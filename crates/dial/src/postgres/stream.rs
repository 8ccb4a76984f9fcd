//! The bytes of one connection: plain or encrypted, and never waited for in vain.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::client::TlsStream;

use super::codes::Codes;

/// How the bytes go.
pub(super) enum Carrier {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that fails when the server owes an answer for too long.
pub(super) struct Stream {
    carrier: Carrier,
    silence: Option<Silence>,
    codes: Option<Told>,
}

/// How long an answer may take.
struct Silence {
    limit: Duration,
    /// When something was asked that nothing has come for since.
    asked: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

/// What was read and changed, and not yet handed on.
#[derive(Default)]
struct Told {
    codes: Codes,
    ready: Vec<u8>,
    given: usize,
}

/// As much is read at once.
const PIECE: usize = 16 * 1024;

impl Stream {
    pub(super) fn new(carrier: Carrier, answer_within: Option<Duration>, with_codes: bool) -> Self {
        let silence = |limit| Silence { limit, asked: None, alarm: Box::pin(sleep(limit)) };
        Self { carrier, silence: answer_within.map(silence), codes: with_codes.then(Told::default) }
    }
}

impl Silence {
    fn asked(&mut self, context: &mut Context<'_>) {
        if self.asked.is_none() {
            let now = Instant::now();
            self.asked = Some(now);
            self.alarm.as_mut().reset(now + self.limit);
            // So that this task is woken when the time is over.
            let _ = self.alarm.as_mut().poll(context);
        }
    }

    /// Ready when the server owes an answer for too long.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.asked.is_none() {
            return Poll::Pending;
        }
        let limit = self.limit;
        let over = || io::Error::new(io::ErrorKind::TimedOut, format!("the server was silent for {limit:?}"));
        self.alarm.as_mut().poll(context).map(|()| over())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = match &mut this.codes {
            None => this.carrier.poll_read(context, into),
            Some(told) => told.poll_read(&mut this.carrier, context, into),
        };
        let Some(silence) = &mut this.silence else { return read };
        if read.is_ready() {
            silence.asked = None;
            return read;
        }
        silence.poll_over(context).map(Err)
    }
}

impl Told {
    fn poll_read(
        &mut self,
        carrier: &mut Carrier,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            match carrier.poll_read(context, &mut piece) {
                // The end.
                Poll::Ready(Ok(())) if piece.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => self.codes.read(piece.filled(), &mut self.ready),
                other => return other,
            }
        }
        let some = into.remaining().min(self.ready.len() - self.given);
        into.put_slice(&self.ready[self.given..self.given + some]);
        self.given += some;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.carrier.poll_write(context, from);
        if let Some(silence) = &mut this.silence {
            silence.asked(context);
            if written.is_pending() {
                return silence.poll_over(context).map(Err);
            }
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Carrier::Unix(stream) => Pin::new(stream).poll_flush(context),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Carrier::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl Carrier {
    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, from),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, from),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, from),
        }
    }
}
