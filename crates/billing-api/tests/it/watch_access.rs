//! Who has access: everybody first, then each change.

use std::sync::atomic::{AtomicI64, Ordering};

use billing::event::{EventKind, NewEvent};
use billing::payment::Outcome;
use billing::{AccountId, clock, store};
use billing_api::proto::{AccessChange, AccountStatus, BatchCheckAccessRequest, WatchAccessRequest};
use tonic::{Code, Streaming};
use uuid::Uuid;

use crate::refused::{refusal, refused};
use crate::worker::completed;
use crate::world::{AUTH, SOON, World, by};

async fn watch(world: &World, resume_token: &str) -> Streaming<AccessChange> {
    let request = WatchAccessRequest { resume_token: resume_token.to_owned() };
    world.access().watch_access(by(AUTH, request)).await.expect("a stream").into_inner()
}

async fn next(changes: &mut Streaming<AccessChange>) -> AccessChange {
    let told = tokio::time::timeout(SOON, changes.message()).await.expect("the stream is woken");
    told.expect("no error").expect("not the end")
}

/// An account that has paid.
async fn subscriber(world: &World) -> String {
    static TRANSACTION: AtomicI64 = AtomicI64::new(1);
    let payment = world.payment().await;
    let mut outcome = completed(payment.amount_kopecks);
    if let Outcome::Completed { transaction_id, .. } = &mut outcome {
        *transaction_id = TRANSACTION.fetch_add(1, Ordering::Relaxed);
    }
    world.charged(&payment.payment_id, outcome).await;
    payment.account_id
}

async fn happened(world: &World, kind: EventKind, account_id: &str) {
    let account = AccountId::from(account_id.parse::<Uuid>().expect("a UUID"));
    let mut conn = world.services.db.conn().await.expect("the database answers");
    store::events::append(&mut conn, vec![NewEvent::of_account(kind, account)], clock::now()).await.expect("written");
    drop(conn);
    world.services.bell.ring();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_everybody_comes_first_and_then_each_change() {
    let world = World::start().await;
    let mut subscribers = [subscriber(&world).await, subscriber(&world).await];
    subscribers.sort();
    world.account().await;
    let mut changes = watch(&world, "").await;
    for id in &subscribers {
        let told = next(&mut changes).await;
        let access = told.access.expect("a row of the snapshot");
        assert_eq!((&access.account_id, access.has_access, access.status()), (id, true, AccountStatus::Active));
        assert_eq!(told.resume_token, "", "there is no place within the snapshot");
    }
    let place = next(&mut changes).await;
    assert_eq!(place.access, None, "who never paid is not in it");
    assert_ne!(place.resume_token, "");

    happened(&world, EventKind::AccessEnded, &subscribers[1]).await;
    let changed = next(&mut changes).await;
    assert_eq!(changed.access.expect("an account").account_id, subscribers[1]);
    drop(changes);

    happened(&world, EventKind::AccessEnded, &subscribers[0]).await;
    let mut again = watch(&world, &changed.resume_token).await;
    assert_eq!(next(&mut again).await.access.expect("no snapshot again").account_id, subscribers[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_refused() {
    let world = World::start().await;
    let request = WatchAccessRequest { resume_token: "nonsense".to_owned() };
    let status = world.access().watch_access(by(AUTH, request)).await.expect_err("nonsense");
    assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &["resume_token"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_are_checked_in_one_call() {
    let world = World::start().await;
    let (paid, known, unknown) = (subscriber(&world).await, world.account().await, Uuid::new_v4().to_string());
    let account_ids = vec![paid.clone(), known.clone(), unknown.clone(), paid.clone()];
    let request = BatchCheckAccessRequest { account_ids };
    let answer = world.access().batch_check_access(by(AUTH, request)).await.expect("an answer").into_inner();
    let mut told: Vec<_> =
        answer.accounts.iter().map(|access| (access.account_id.clone(), access.has_access)).collect();
    told.sort();
    let mut expected = vec![(paid, true), (known, false)];
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(answer.unknown_account_ids, [unknown]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_one_to_a_thousand_accounts() {
    let world = World::start().await;
    for account_ids in [vec![], vec!["x".to_owned()], vec![Uuid::new_v4().to_string(); 1_001]] {
        let request = BatchCheckAccessRequest { account_ids };
        let status = world.access().batch_check_access(by(AUTH, request)).await.expect_err("refused");
        assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &["account_ids"]));
    }
    let account_ids = (0..1_000).map(|_| Uuid::new_v4().to_string()).collect();
    let request = BatchCheckAccessRequest { account_ids };
    let answer = world.access().batch_check_access(by(AUTH, request)).await.expect("an answer").into_inner();
    assert_eq!(answer.unknown_account_ids.len(), 1_000);
}
