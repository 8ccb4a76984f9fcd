//! What the log says of a server that is away: one line when it goes, one when it is back, however many connections there
//! are to it and however often each is tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::metrics;

/// A server as all connections to it see it. Clones speak of the same server.
#[derive(Clone, Debug)]
pub(crate) struct Reachability(Arc<Server>);

#[derive(Debug)]
struct Server {
    /// What it is, in the words of the log.
    name: &'static str,
    address: String,
    outage: Mutex<Outage>,
}

#[derive(Debug, Default)]
struct Outage {
    /// How many connections are without it.
    connections: usize,
    /// Since when at least one is.
    since: Option<Instant>,
    /// Why the server does not even want to be reached, as it was told last.
    refusal: Option<String>,
}

impl Reachability {
    pub(crate) fn new(name: &'static str, address: impl Into<String>) -> Self {
        metrics::server_is_back(name);
        Self(Arc::new(Server { name, address: address.into(), outage: Mutex::default() }))
    }

    /// One more connection to it.
    pub(crate) fn connection(&self) -> Reach {
        Reach { server: self.clone(), is_away: AtomicBool::new(false) }
    }
}

/// A server as one connection sees it. Dropping it says nothing more.
#[derive(Debug)]
pub(crate) struct Reach {
    server: Reachability,
    is_away: AtomicBool,
}

impl Reach {
    /// The server cannot be reached by this connection, or no longer.
    pub(crate) fn away(&self, reason: &str) {
        if self.joins_outage() {
            let Server { name, address, .. } = &*self.server.0;
            tracing::warn!(address, reason, "{name} cannot be reached; trying again until it is back");
        }
    }

    /// It can be reached, and wants nothing to do with us: that does not pass by itself, so each new reason is told.
    pub(crate) fn refused(&self, reason: &str) {
        self.joins_outage();
        let Server { name, address, outage } = &*self.server.0;
        let mut outage = outage.lock();
        if outage.refusal.as_deref() != Some(reason) {
            outage.refusal = Some(reason.to_owned());
            tracing::warn!(address, reason, "{name} refuses us; trying again");
        }
    }

    /// This connection is without the server. Returns whether the outage begins with that.
    fn joins_outage(&self) -> bool {
        if self.is_away.swap(true, Ordering::Relaxed) {
            return false;
        }
        let mut outage = self.server.0.outage.lock();
        outage.connections += 1;
        let begins = outage.since.is_none();
        if begins {
            metrics::server_is_away(self.server.0.name);
        }
        outage.since.get_or_insert_with(Instant::now);
        begins
    }

    /// This connection has reached it.
    pub(crate) fn back(&self) {
        if !self.is_away.swap(false, Ordering::Relaxed) {
            return;
        }
        let Server { name, address, outage } = &*self.server.0;
        let mut outage = outage.lock();
        outage.connections -= 1;
        if outage.connections == 0
            && let Some(since) = outage.since.take()
        {
            outage.refusal = None;
            metrics::server_is_back(name);
            let away = since.elapsed();
            tracing::info!(address, away = format!("{away:.1?}"), "{name} is back");
        }
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        if *self.is_away.get_mut() {
            let mut outage = self.server.0.outage.lock();
            outage.connections -= 1;
            if outage.connections == 0 {
                outage.since = None;
                metrics::server_is_back(self.server.0.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(work: impl FnOnce()) -> Vec<String> {
        let logs = testkit::Logs::of_this_thread("info");
        work();
        logs.lines()
    }

    #[test]
    fn an_outage_is_one_line_when_it_begins_and_one_when_it_is_over_for_all_connections() {
        let lines = logged(|| {
            let server = Reachability::new("broker", "amqp://h");
            let (first, second) = (server.connection(), server.connection());
            first.back();
            first.away("reset");
            second.away("reset");
            first.away("refused");
            first.back();
            first.away("reset again");
            second.back();
            first.back();
            first.back();
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("WARN") && lines[0].contains("reset"), "{lines:?}");
        assert!(lines[1].contains("INFO") && lines[1].contains("away="), "{lines:?}");
    }

    #[test]
    fn a_server_that_refuses_is_told_once_for_each_reason() {
        let lines = logged(|| {
            let reach = Reachability::new("broker", "amqp://h").connection();
            reach.away("reset");
            reach.refused("ACCESS_REFUSED");
            reach.refused("ACCESS_REFUSED");
            reach.refused("vhost gone");
            reach.back();
        });
        assert_eq!(lines.len(), 4, "{lines:?}");
        let lines = logged(|| Reachability::new("broker", "amqp://h").connection().refused("ACCESS_REFUSED"));
        assert_eq!(lines.len(), 1, "{lines:?}");
    }

    #[test]
    fn a_connection_that_is_given_up_keeps_no_outage_open() {
        let server = Reachability::new("broker", "amqp://h");
        let first = server.connection();
        first.away("reset");
        drop(first);
        let lines = logged(|| {
            let second = server.connection();
            second.away("reset");
            second.back();
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
}
