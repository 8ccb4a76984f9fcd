use listener::{Descriptors, Limits};
use tokio::net::TcpStream;

use crate::world::{World, ask, ended, hear, is_served, limits};

async fn silent(world: &World, count: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(world.connect().await);
    }
    silent
}

#[tokio::test]
async fn who_floods_a_port_with_silence_shuts_nobody_out() {
    for limits in [Limits { per_address: 10, ..limits() }, Limits { in_all: 10, ..limits() }] {
        let world = World::with(limits).await;
        let mut flood = silent(&world, 60).await;
        for _ in 0..3 {
            assert!(is_served(world.connect().await).await, "with {limits:?}");
        }
        for connection in &mut flood[..40] {
            ended(connection).await;
        }
    }
}

#[tokio::test]
async fn silence_takes_no_descriptor_that_is_kept_for_the_process() {
    let world = World::on(limits(), false, Descriptors::of(40)).await;
    let _flood = silent(&world, 100).await;
    assert!(is_served(world.connect().await).await);
}

#[tokio::test]
async fn where_all_connections_are_at_work_one_more_is_closed_and_the_others_go_on() {
    let world = World::with(Limits { per_address: 3, ..limits() }).await;
    let mut working = Vec::new();
    for _ in 0..3 {
        let mut connection = world.connect().await;
        ask(&mut connection, "/slow").await;
        world.slow.add_permits(1);
        hear(&mut connection, "at last").await;
        // It has been heard, and asks again: the answer waits.
        ask(&mut connection, "/much").await;
        hear(&mut connection, "HTTP/1.1 200 OK").await;
        working.push(connection);
    }
    assert!(!is_served(world.connect().await).await, "nobody is sent away for it");
    for connection in &mut working {
        hear(connection, "\0\0\0\0").await;
    }
    drop(working.pop());
    there_is_room(&world).await;
}

/// A connection that has ended makes room, as soon as the listener sees that it has.
async fn there_is_room(world: &World) {
    let served = async { while !is_served(world.connect().await).await {} };
    tokio::time::timeout(crate::world::SOON, served).await.expect("there is room again");
}
