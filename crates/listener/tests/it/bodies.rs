use listener::Limits;
use tokio::io::AsyncWriteExt as _;

use crate::world::{SHORT, World, hear, limits};

#[tokio::test]
async fn a_body_that_does_not_come_is_told_to_the_service_in_time() {
    let world = World::with(Limits { body: SHORT, ..limits() }).await;
    let mut slow = world.connect().await;
    slow.write_all(b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf ").await.expect("sent");
    let answer = hear(&mut slow, "no body").await;
    assert!(answer.contains("did not come within 300ms"), "{answer}");
}

#[tokio::test]
async fn a_body_that_comes_in_pieces_is_whole() {
    let world = World::with(limits()).await;
    let mut client = world.connect().await;
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf ").await.expect("sent");
    client.write_all(b"other").await.expect("sent");
    hear(&mut client, "half other").await;
}
