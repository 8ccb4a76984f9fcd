use listener::Limits;
use tokio::io::AsyncWriteExt as _;

use crate::world::{SHORT, SOON, World, ask, ended, hear, is_served, limits};

/// The beginnings of a connection that never becomes a request.
const BEGINNINGS: [&[u8]; 5] =
    [b"", b"PRI * HTTP/2.0\r\n\r\nS", b"GET / HTTP/1.1\r\nhost:", b"\x16\x03\x01", b"\r\n\r\n\r\n"];

#[tokio::test]
async fn a_connection_that_never_asks_for_anything_is_closed() {
    let plain = World::with(Limits { handshake: SHORT, ..limits() }).await;
    let tls = World::with_tls(Limits { handshake: SHORT, ..limits() }).await;
    for world in [&plain, &tls] {
        for beginning in BEGINNINGS {
            let mut silent = world.connect().await;
            silent.write_all(beginning).await.expect("sent");
            ended(&mut silent).await;
        }
    }
}

#[tokio::test]
async fn a_tls_handshake_without_a_request_is_silence() {
    let world = World::with_tls(Limits { handshake: SHORT, ..limits() }).await;
    for beginning in BEGINNINGS {
        let mut silent = world.connect_tls().await;
        silent.write_all(beginning).await.expect("sent");
        ended(&mut silent).await;
    }
    assert!(is_served(world.connect_tls().await).await);
}

#[tokio::test]
async fn a_connection_with_nothing_under_way_is_closed_after_the_longer_time() {
    let world = World::with(Limits { idle: SHORT, ..limits() }).await;
    let mut idle = world.connect().await;
    ask(&mut idle, "/").await;
    hear(&mut idle, "hello").await;
    ended(&mut idle).await;

    let mut greeted = world.connect().await;
    // The whole preface and an empty frame of settings.
    greeted.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    ended(&mut greeted).await;
}

#[tokio::test]
async fn a_request_that_is_under_way_is_no_silence() {
    let world = World::with(Limits { idle: SHORT, handshake: SHORT, ..limits() }).await;
    let mut patient = world.connect().await;
    ask(&mut patient, "/slow").await;
    // Another connection is closed meanwhile, twice over.
    for _ in 0..2 {
        ended(&mut world.connect().await).await;
    }
    world.slow.add_permits(1);
    hear(&mut patient, "at last").await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_of_an_answer_is_given_up() {
    let mut world = World::with(Limits { stalled: SHORT, ..limits() }).await;
    let mut greedy = world.connect().await;
    ask(&mut greedy, "/much").await;
    hear(&mut greedy, "HTTP/1.1 200 OK").await;
    // It reads no more. Who stops waits for what is under way: for this answer no longer than for one that is taken.
    world.stop.cancel();
    tokio::time::timeout(SOON, &mut world.serving).await.expect("nobody waits for it").expect("no panic");
}
