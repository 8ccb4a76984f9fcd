//! The bytes of one connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::activity::{Activity, Peer};

/// What an HTTP/2 client says first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, behind TLS if there is any. Notices the end of the HTTP/2 preface, a peer that takes nothing, and that
/// the connection was cut.
pub(crate) struct Stream {
    io: Box<dyn Io>,
    activity: Arc<Activity>,
    peer: Peer,
    preface: Preface,
    stalled: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preface {
    /// This much of it has been read.
    Read(usize),
    Complete,
    /// Something else was said.
    Absent,
}

impl Preface {
    fn read(self, bytes: &[u8]) -> Self {
        let Self::Read(length) = self else { return self };
        let expected = &PREFACE[length..];
        let common = expected.len().min(bytes.len());
        match bytes[..common] == expected[..common] {
            true if common == expected.len() => Self::Complete,
            true => Self::Read(length + common),
            false => Self::Absent,
        }
    }
}

impl Stream {
    pub(crate) fn new(io: Box<dyn Io>, activity: Arc<Activity>, peer: Peer, stalled: Duration) -> Self {
        Self { io, activity, peer, preface: Preface::Read(0), stalled, waiting: None }
    }

    fn whole(&self) -> io::Result<()> {
        if self.peer.is_cut() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// Gives up on a peer that takes nothing.
    fn patiently<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let stalled = self.stalled;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(stalled)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        if let Preface::Read(_) = self.preface {
            self.preface = self.preface.read(&buffer.filled()[before..]);
            if self.preface == Preface::Complete {
                self.activity.greeted();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.whole()?;
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.patiently(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.whole()?;
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.patiently(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.patiently(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_known_in_pieces_and_with_what_follows_and_nothing_else_is_taken_for_it() {
        let read = |pieces: &[&[u8]]| pieces.iter().fold(Preface::Read(0), |preface, piece| preface.read(piece));
        assert_eq!(read(&[PREFACE]), Preface::Complete);
        assert_eq!(read(&[&PREFACE[..1], &PREFACE[1..20], &[&PREFACE[20..], b"\0\0"].concat()]), Preface::Complete);
        assert_eq!(read(&[&PREFACE[..12]]), Preface::Read(12));
        assert_eq!(read(&[b"PRI * HTTP/1.1\r\n"]), Preface::Absent);
        assert_eq!(read(&[b"P", b"OST / HTTP/1.1\r\n\r\n"]), Preface::Absent);
    }
}
