use crate::world::{SOON, World, ask, ended, hear, limits};

#[tokio::test]
async fn a_stop_ends_who_is_silent_and_waits_for_what_is_under_way() {
    let mut world = World::with(limits()).await;
    let (mut silent, mut idle, mut working) = (world.connect().await, world.connect().await, world.connect().await);
    ask(&mut idle, "/").await;
    hear(&mut idle, "hello").await;
    world.slow.add_permits(1);
    ask(&mut working, "/slow").await;
    hear(&mut working, "at last").await;
    ask(&mut working, "/slow").await;
    // Heard for certain once a request on another connection is answered behind it.
    ask(&mut idle, "/").await;
    hear(&mut idle, "hello").await;

    world.stop.cancel();
    ended(&mut silent).await;
    ended(&mut idle).await;
    assert!(!world.serving.is_finished(), "one is still at work");
    world.slow.add_permits(1);
    hear(&mut working, "at last").await;
    ended(&mut working).await;
    tokio::time::timeout(SOON, &mut world.serving).await.expect("all have ended").expect("no panic");
}

#[tokio::test]
async fn a_connection_that_was_cut_says_nothing_more() {
    use tokio::io::AsyncReadExt as _;
    let world = World::with(limits()).await;
    let mut client = world.connect().await;
    ask(&mut client, "/cut").await;
    let mut heard = Vec::new();
    // An end or a reset, and nothing before.
    let _ = tokio::time::timeout(SOON, client.read_to_end(&mut heard)).await.expect("it is closed");
    assert_eq!(heard, b"");
}
