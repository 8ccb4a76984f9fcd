//! Who is let in, and who makes room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::activity::Activity;
use crate::descriptors::{Descriptor, Descriptors};

/// The open connections of one listener.
#[derive(Debug)]
pub(crate) struct Admission {
    per_address: usize,
    in_all: usize,
    descriptors: Arc<Descriptors>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, (IpAddr, Arc<Activity>)>,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection that was let in. Its place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    id: u64,
    pub(crate) activity: Arc<Activity>,
    admission: Arc<Admission>,
    _descriptor: Descriptor,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("its address has as many connections as it may, and all of them are at work")]
    Address,
    #[error("there are as many connections as there may be, and all of them are at work")]
    All,
    #[error("the other file descriptors are kept for the process's own work")]
    Descriptors,
}

impl Admission {
    pub(crate) fn new(per_address: usize, in_all: usize, descriptors: Arc<Descriptors>) -> Arc<Self> {
        Arc::new(Self { per_address, in_all, descriptors, open: Mutex::default() })
    }

    /// Lets a connection in. Where a limit is reached, one that is silent makes room.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admitted, Full> {
        let address = one_host(address);
        let mut open = self.open.lock();
        if open.by_address.get(&address).is_some_and(|count| *count >= self.per_address) {
            open.evict(|of| of == address).ok_or(Full::Address)?;
        }
        if open.connections.len() >= self.in_all {
            open.evict(|_| true).ok_or(Full::All)?;
        }
        let descriptor = match self.descriptors.take() {
            Some(descriptor) => descriptor,
            None => {
                open.evict(|_| true).ok_or(Full::Descriptors)?;
                self.descriptors.take_in_advance().ok_or(Full::Descriptors)?
            }
        };
        let activity = Activity::new();
        let id = open.insert(address, Arc::clone(&activity));
        Ok(Admitted { id, activity, admission: Arc::clone(self), _descriptor: descriptor })
    }
}

impl Open {
    fn insert(&mut self, address: IpAddr, activity: Arc<Activity>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.connections.insert(id, (address, activity));
        *self.by_address.entry(address).or_default() += 1;
        id
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Activity>> {
        let (address, activity) = self.connections.remove(&id)?;
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        Some(activity)
    }

    /// Ends the connection that can best be done without; `None` if all have something under way.
    fn evict(&mut self, of: impl Fn(IpAddr) -> bool) -> Option<()> {
        let silent = self.connections.iter().filter(|(_, (address, _))| of(*address));
        let (_, id) = silent.filter_map(|(id, (_, activity))| Some((activity.silence()?, *id))).min()?;
        self.remove(id)?.evicted.cancel();
        Some(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.open.lock().remove(self.id);
    }
}

/// What counts as one address: of IPv6 the /64, which every host has whole.
fn one_host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn admission(per_address: usize, in_all: usize) -> Arc<Admission> {
        Admission::new(per_address, in_all, Descriptors::of(1000))
    }

    #[tokio::test]
    async fn at_the_limit_of_an_address_its_longest_silent_connection_makes_room() {
        let admission = admission(2, 10);
        let others = admission.admit(OTHER).unwrap();
        let (first, second) = (admission.admit(ONE).unwrap(), admission.admit(ONE).unwrap());
        let _third = admission.admit(ONE).unwrap();
        assert!(first.activity.evicted.is_cancelled());
        assert!(!second.activity.evicted.is_cancelled() && !others.activity.evicted.is_cancelled());
    }

    #[tokio::test]
    async fn where_all_are_at_work_a_new_one_is_refused_and_others_are_not() {
        let admission = admission(2, 3);
        let busy = [ONE, ONE].map(|address| admission.admit(address).unwrap());
        let _requests = busy.each_ref().map(|admitted| admitted.activity.begin());
        assert_eq!(admission.admit(ONE).err(), Some(Full::Address));
        let other = admission.admit(OTHER).unwrap();
        let _request = other.activity.begin();
        assert_eq!(admission.admit(OTHER).err(), Some(Full::All));
    }

    #[tokio::test]
    async fn an_ended_connection_leaves_its_place() {
        let admission = admission(1, 1);
        for _ in 0..3 {
            let admitted = admission.admit(ONE).unwrap();
            let _request = admitted.activity.begin();
        }
        let open = admission.open.lock();
        assert!(open.connections.is_empty() && open.by_address.is_empty());
    }

    #[tokio::test]
    async fn without_a_descriptor_to_spare_a_silent_one_makes_room_and_one_at_work_does_not() {
        let admission = Admission::new(100, 100, Descriptors::of(40));
        let mut open: Vec<_> = (0..20).map(|_| admission.admit(ONE).unwrap()).collect();
        let _requests: Vec<_> = open[1..].iter().map(|admitted| admitted.activity.begin()).collect();
        open.push(admission.admit(OTHER).unwrap());
        assert!(open[0].activity.evicted.is_cancelled());
        let _request = open[20].activity.begin();
        assert_eq!(admission.admit(OTHER).err(), Some(Full::Descriptors));
    }

    #[test]
    fn a_host_is_an_address_of_ipv4_or_64_bits_of_ipv6() {
        for (address, host) in
            [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
        {
            assert_eq!(one_host(address.parse().unwrap()), host.parse::<IpAddr>().unwrap());
        }
    }
}
