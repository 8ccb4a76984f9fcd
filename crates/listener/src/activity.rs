//! What a connection is doing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Limits;

/// The other end of a connection. Found in the extensions of every request that came on it.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    places: Arc<Mutex<usize>>,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, cut: Arc::default(), places: Arc::default() }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on not a byte is written: the answer under way is lost and the connection closed.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Takes one of the `limit` places of this connection, until what is returned is dropped; `None` if all are taken.
    #[must_use]
    pub fn place(&self, limit: usize) -> Option<Place> {
        let mut taken = self.places.lock();
        (*taken < limit).then(|| {
            *taken += 1;
            Place(Arc::clone(&self.places))
        })
    }
}

/// One of the places of a connection.
#[derive(Debug)]
pub struct Place(Arc<Mutex<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
    }
}

/// Watches over one connection.
#[derive(Debug)]
pub(crate) struct Activity {
    state: Mutex<State>,
    /// Tells that something has begun or ended.
    changed: Notify,
    /// The connection makes room for another.
    pub(crate) evicted: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// It has said what it wants: the preface of HTTP/2, or a request.
    greeted: bool,
    /// It has asked for something.
    asked: bool,
    under_way: usize,
    quiet_since: Instant,
}

/// How long a connection has been silent. Ordered: the first is the first to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Silence {
    asked: bool,
    since: Instant,
}

/// Why a connection is closed by this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It never said what it wants.
    Handshake,
    /// It has had nothing to do for long.
    Idle,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        let state = State { greeted: false, asked: false, under_way: 0, quiet_since: Instant::now() };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new(), evicted: CancellationToken::new() })
    }

    pub(crate) fn greeted(&self) {
        let mut state = self.state.lock();
        state.greeted = true;
        state.quiet_since = Instant::now();
        self.changed.notify_one();
    }

    /// A request is under way until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state.lock();
        state.greeted = true;
        state.asked = true;
        state.under_way += 1;
        self.changed.notify_one();
        UnderWay(Arc::clone(self))
    }

    /// `None` while something is under way.
    pub(crate) fn silence(&self) -> Option<Silence> {
        let State { asked, under_way, quiet_since, .. } = *self.state.lock();
        (under_way == 0).then_some(Silence { asked, since: quiet_since })
    }

    /// Completes when the connection has been silent for too long.
    pub(crate) async fn overdue(&self, limits: &Limits) -> Overdue {
        loop {
            let State { greeted, under_way, quiet_since, .. } = *self.state.lock();
            let (patience, overdue) = limit(greeted, limits);
            if under_way == 0 && quiet_since.elapsed() >= patience {
                return overdue;
            }
            let waited = async {
                if under_way > 0 {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep_until(quiet_since + patience).await;
            };
            tokio::select! {
                () = waited => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

fn limit(greeted: bool, limits: &Limits) -> (Duration, Overdue) {
    if greeted { (limits.idle, Overdue::Idle) } else { (limits.handshake, Overdue::Handshake) }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.under_way -= 1;
        if state.under_way == 0 {
            state.quiet_since = Instant::now();
            self.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let (handshake, idle) = (Duration::from_secs(10), Duration::from_secs(60));
        Limits { handshake, idle, ..Limits::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_has_the_time_of_a_handshake_and_who_spoke_the_longer_one() {
        let (silent, greeted) = (Activity::new(), Activity::new());
        greeted.greeted();
        let began = Instant::now();
        assert_eq!(silent.overdue(&limits()).await, Overdue::Handshake);
        assert_eq!(began.elapsed().as_secs(), 10);
        assert_eq!(greeted.overdue(&limits()).await, Overdue::Idle);
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_never_overdue_and_its_end_begins_the_time_anew() {
        let activity = Activity::new();
        let (first, second) = (activity.begin(), activity.begin());
        let (began, watched) = (Instant::now(), Arc::clone(&activity));
        let overdue = tokio::spawn(async move { watched.overdue(&limits()).await });
        tokio::time::sleep(Duration::from_secs(3600)).await;
        drop(first);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!overdue.is_finished());
        drop(second);
        assert_eq!(overdue.await.unwrap(), Overdue::Idle);
        assert_eq!(began.elapsed().as_secs(), 7260);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asked_goes_before_who_did_and_the_longer_silent_first() {
        let served = Activity::new();
        drop(served.begin());
        tokio::time::advance(Duration::from_secs(1)).await;
        let (old, busy) = (Activity::new(), Activity::new());
        tokio::time::advance(Duration::from_secs(1)).await;
        let new = Activity::new();
        let _request = busy.begin();
        assert_eq!(busy.silence(), None);
        let mut silent = [&served, &new, &old].map(|activity| activity.silence().unwrap());
        silent.sort();
        assert_eq!(silent, [&old, &new, &served].map(|activity| activity.silence().unwrap()));
    }

    #[test]
    fn a_connection_has_so_many_places_and_no_more() {
        let peer = Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)));
        let (first, _second) = (peer.place(2).unwrap(), peer.place(2).unwrap());
        assert!(peer.clone().place(2).is_none());
        drop(first);
        assert!(peer.place(2).is_some());
    }
}
