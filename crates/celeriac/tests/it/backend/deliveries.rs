//! Counted deliveries, for every backend that counts.

use super::{Setup, id};

async fn counts(setup: Setup) {
    let (ours, theirs, task, other) = (setup.open().await, setup.open().await, id(), id());
    let (ours, theirs) = (ours.deliveries().unwrap(), theirs.deliveries().unwrap());
    ours.forget(&task).await.unwrap();
    ours.prepare().await.unwrap();
    theirs.prepare().await.unwrap();
    assert_eq!(ours.counted(&task).await.unwrap(), 0);
    assert_eq!(ours.count(&task).await.unwrap(), 1);
    assert_eq!((ours.counted(&task).await.unwrap(), theirs.counted(&task).await.unwrap()), (1, 1));
    assert_eq!(theirs.count(&task).await.unwrap(), 2);
    assert_eq!(ours.count(&other).await.unwrap(), 1);
    theirs.forget(&task).await.unwrap();
    assert_eq!(ours.count(&task).await.unwrap(), 1);
}

#[tokio::test]
async fn in_memory_deliveries_are_counted_by_all_until_they_are_forgotten() {
    counts(Setup::memory()).await;
}

#[tokio::test]
async fn in_redis_deliveries_are_counted_by_all_until_they_are_forgotten() {
    counts(Setup::redis().await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn in_postgresql_deliveries_are_counted_by_all_until_they_are_forgotten() {
    counts(Setup::postgres().await).await;
}
