//! TCP connections that are made within a limit, and that notice when the other side has vanished.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

/// When a connection on which nothing comes is taken for dead. By default after 5 + 3 × 3 seconds without traffic, and
/// after 10 seconds in which nothing that was sent arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// The other side is asked after so long a silence; `None`: it is never asked.
    pub idle: Option<Duration>,
    /// How long it may take to answer, each time.
    pub interval: Duration,
    /// How often it is asked.
    pub retries: u32,
    /// How long what was sent may stay unconfirmed; zero leaves that to the system.
    pub user_timeout: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle: Some(Duration::from_secs(5)),
            interval: Duration::from_secs(3),
            retries: 3,
            user_timeout: Duration::from_secs(10),
        }
    }
}

/// Resolves a name, each time anew: after a failover it may lead elsewhere.
///
/// # Errors
/// Nobody knows it, or nobody answered within `limit`.
pub async fn resolve(host: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    let addresses = match tokio::time::timeout(limit, lookup_host((host, port))).await {
        Ok(found) => found?.collect::<Vec<_>>(),
        Err(_) => return Err(late(limit)),
    };
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Connects to one address within `limit`.
///
/// # Errors
/// What the network said.
pub async fn connect(address: SocketAddr, limit: Duration, keep_alive: &KeepAlive) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await.map_err(|_| late(limit))??;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    if let Some(idle) = keep_alive.idle {
        let settings = TcpKeepalive::new().with_time(idle).with_interval(keep_alive.interval);
        socket.set_tcp_keepalive(&settings.with_retries(keep_alive.retries))?;
    }
    #[cfg(target_os = "linux")]
    if !keep_alive.user_timeout.is_zero() {
        socket.set_tcp_user_timeout(Some(keep_alive.user_timeout))?;
    }
    Ok(stream)
}

/// Connects to a server by its name, within `limit`: each address that the name has gets a share of it.
///
/// # Errors
/// What the network said of the last one.
pub async fn connect_to(host: &str, port: u16, limit: Duration, keep_alive: &KeepAlive) -> io::Result<TcpStream> {
    let deadline = Instant::now() + limit;
    let addresses = resolve(host, port, limit).await?;
    let mut last = late(limit);
    for (index, address) in addresses.iter().enumerate() {
        match connect(*address, share(deadline, addresses.len() - index), keep_alive).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What each of so many attempts may take of the time that is left.
pub fn share(deadline: Instant, attempts: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left / u32::try_from(attempts.max(1)).unwrap_or(u32::MAX)
}

/// Waits for something until a deadline.
///
/// # Errors
/// It took too long, or went wrong.
pub async fn within<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(deadline, work)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

fn late(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_of_several_attempts_gets_its_share_of_the_time() {
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(share(deadline, 2), Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(share(deadline, 1), Duration::from_secs(6));
        assert_eq!(share(deadline, 0), Duration::from_secs(6));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(share(deadline, 1), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_connection_notices_that_the_other_side_has_vanished() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = connect_to("127.0.0.1", port, Duration::from_secs(5), &KeepAlive::default()).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(5));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(10)));
    }
}
