//! How much a listener takes.

use std::time::Duration;

/// What every connection of a listener is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the connection to its first request, or to the end of the HTTP/2 preface; a TLS handshake counts.
    pub handshake: Duration,
    /// Without a request under way. A stream that is open is under way, however little happens on it.
    pub idle: Duration,
    /// From the head of a request to the end of its body.
    pub body: Duration,
    /// A peer that takes no byte of what is sent to it for this long is gone.
    pub stalled: Duration,
    /// Connections of one address at a time. The clients behind a load balancer or a proxy all have its address. An
    /// IPv6 host has a whole /64, which counts as one address.
    pub per_address: usize,
    /// Connections at a time.
    pub in_all: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams: u32,
}

impl Limits {
    /// What fits a server that anybody may call.
    pub const DEFAULT: Self = Self {
        handshake: Duration::from_secs(10),
        // Longer than HTTP clients keep a connection that they do not use (90 s is common): they close it, and no request
        // is lost on one that we are just closing.
        idle: Duration::from_secs(300),
        body: Duration::from_secs(10),
        stalled: Duration::from_secs(30),
        per_address: 256,
        in_all: 4096,
        streams: 128,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A peer that does not answer an HTTP/2 ping for this long is gone, and its streams with it.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(30);
pub(crate) const PONG_WITHIN: Duration = Duration::from_secs(10);
/// All headers of a request, in bytes.
pub(crate) const HEADERS: u32 = 16 * 1024;
/// What a peer may send ahead of being read, in bytes: on one stream, and on a connection.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 512 * 1024;
/// What of one answer waits for a peer to take it, in bytes.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;
/// HTTP/1: the longest head, and the piece of a body that is read at once.
pub(crate) const HTTP1_BUFFER: usize = 64 * 1024;
/// How long a connection has to end after it was told that it will.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);
