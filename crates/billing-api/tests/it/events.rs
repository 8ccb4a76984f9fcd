//! What happened, told in order to whoever writes to customers.

use std::time::Duration;

use billing::event::{EventKind as Kind, NewEvent, ResumeToken};
use billing::{AccountId, clock, store};
use billing_api::proto::events_client::EventsClient;
use billing_api::proto::{Event, EventKind, WatchEventsRequest};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use crate::refused::{refusal, refused};
use crate::world::{MAILER, SOON, World, by};

/// So seldom that no test waits for it.
const NEVER: Duration = Duration::from_secs(3600);

async fn watch(world: &World, request: WatchEventsRequest) -> Result<Streaming<Event>, Status> {
    EventsClient::new(world.channel()).watch(by(MAILER, request)).await.map(tonic::Response::into_inner)
}

async fn all(world: &World) -> Streaming<Event> {
    watch(world, WatchEventsRequest::default()).await.expect("a stream")
}

async fn next(events: &mut Streaming<Event>) -> Event {
    let told = tokio::time::timeout(SOON, events.message()).await.expect("the stream is woken");
    told.expect("no error").expect("not the end")
}

/// Something that happened to an account, written and committed.
async fn happened(world: &World, event: NewEvent) {
    let mut conn = world.services.db.conn().await.expect("the database answers");
    store::events::append(&mut conn, vec![event], clock::now()).await.expect("written");
    drop(conn);
    world.services.bell.ring();
}

async fn each_event_is_told_as_it_happens(world: World) {
    let mut events = all(&world).await;
    let account_id = world.account().await;
    let registered = next(&mut events).await;
    assert_eq!((registered.kind(), &registered.account_id), (EventKind::AccountRegistered, &account_id));

    let account = AccountId::from(account_id.parse::<Uuid>().expect("a UUID"));
    let granted = NewEvent::of_account(Kind::AccessGranted, account)
        .with("tariff_id", Uuid::from_u128(7).to_string())
        .with("expires_on", "2030-02-28");
    happened(&world, NewEvent::of_account(Kind::AccountMoved, account).states(Some("Inactive"), "Active")).await;
    happened(&world, granted).await;
    let told = next(&mut events).await;
    assert_eq!(told.kind(), EventKind::AccessGranted, "what is for the staff only is not told");
    assert_eq!((&*told.expires_on, told.tariff_id.parse()), ("2030-02-28", Ok(Uuid::from_u128(7))));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_told_as_it_happens_in_memory() {
    each_event_is_told_as_it_happens(World::with(|config| config.events_reread = NEVER).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_told_as_it_happens_on_real_servers() {
    each_event_is_told_as_it_happens(World::on_real_servers(|config| config.events_reread = NEVER).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_told_also_when_nobody_rang() {
    let world = World::with(|config| config.events_reread = Duration::from_millis(50)).await;
    let mut events = all(&world).await;
    let account = AccountId::new();
    let mut conn = world.services.db.conn().await.expect("the database answers");
    let event = NewEvent::of_account(Kind::AccessEnded, account);
    store::events::append(&mut conn, vec![event], clock::now()).await.expect("written");
    drop(conn);
    assert_eq!(next(&mut events).await.account_id, account.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_goes_on_where_they_stopped() {
    let world = World::start().await;
    let mut events = all(&world).await;
    let accounts = [world.account().await, world.account().await, world.account().await];
    let first = next(&mut events).await;
    assert_eq!(first.account_id, accounts[0]);
    drop(events);

    let request = WatchEventsRequest { resume_token: first.resume_token.clone(), kinds: Vec::new() };
    let mut again = watch(&world, request).await.expect("a stream");
    assert_eq!(next(&mut again).await.account_id, accounts[1]);
    assert_eq!(next(&mut again).await.account_id, accounts[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_kinds_that_were_asked_for_are_told() {
    let world = World::start().await;
    let kinds = vec![EventKind::AccessEnded.into()];
    let mut events = watch(&world, WatchEventsRequest { kinds, ..Default::default() }).await.expect("a stream");
    let account_id = world.account().await;
    let account = AccountId::from(account_id.parse::<Uuid>().expect("a UUID"));
    happened(&world, NewEvent::of_account(Kind::AccessEnded, account)).await;
    assert_eq!(next(&mut events).await.kind(), EventKind::AccessEnded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_leads_nowhere_is_refused_with_what_to_do() {
    let world = World::start().await;
    world.account().await;
    let mut conn = world.services.db.conn().await.expect("the database answers");
    let log = store::events::log(&mut conn).await.expect("the log");
    drop(conn);
    let other_epoch = ResumeToken { epoch: Uuid::from_u128(1), ..log.end() };
    let ahead = ResumeToken { position: log.last_position + 100, ..log.end() };
    for (token, code, reason) in [
        ("nonsense".to_owned(), Code::InvalidArgument, "INVALID_FIELDS"),
        (other_epoch.to_string(), Code::OutOfRange, "RESUME_TOKEN_OTHER_EPOCH"),
        (ahead.to_string(), Code::OutOfRange, "RESUME_TOKEN_OTHER_EPOCH"),
    ] {
        let request = WatchEventsRequest { resume_token: token, ..Default::default() };
        let status = watch(&world, request).await.expect_err(reason);
        assert_eq!(refusal(&status), refused(code, reason, &["resume_token"]));
    }
    let request = WatchEventsRequest { kinds: vec![0, 1], ..Default::default() };
    let status = watch(&world, request).await.expect_err("no kind");
    assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &["kinds"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_the_stream_and_says_so() {
    let mut world = World::start().await;
    let mut events = all(&world).await;
    world.stop().await.expect("no error");
    let status = tokio::time::timeout(SOON, events.message()).await.expect("it ends").expect_err("an error");
    assert_eq!(refusal(&status), refused(Code::Unavailable, "SHUTTING_DOWN", &[]));
}
