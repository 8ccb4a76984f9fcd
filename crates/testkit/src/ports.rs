//! Free ports.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use uuid::Uuid;

/// Below the ports the kernel gives to outgoing connections: one of those could take it before the test does.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port of 127.0.0.1 on which nobody listens, never given twice in this process.
///
/// Prefer port 0 where the program can tell what it got.
pub fn free_port() -> u16 {
    let mut given = GIVEN.lock().expect("nothing panics while it is held");
    let given = given.get_or_insert_default();
    loop {
        let port = random_port();
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}

fn random_port() -> u16 {
    let [high, low, ..] = Uuid::new_v4().into_bytes();
    RANGE.start + u16::from_be_bytes([high, low]) % (RANGE.end - RANGE.start)
}
