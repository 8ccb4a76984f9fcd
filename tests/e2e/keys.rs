//! `billing keys`: a key is changed, and taken away when nothing needs it any more.

use std::time::Duration;

use billing::AccountId;
use billing::cipher::{Cipher, Place};
use testkit::{Process, Signal, eventually};
use tokio_postgres::{Client, NoTls};

const PATIENCE: Duration = Duration::from_secs(60);
const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "new:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
const SUBSCRIBERS: usize = 4_000;

async fn start(database: &str, keys: &str, arguments: &[&str]) -> Process {
    Process::billing(arguments, |command| {
        command.env("DATABASE_URL", database).env("ENCRYPTION_KEYS", keys);
        command
            .env("BROKER_URL", "memory://keys")
            .env("RESULT_BACKEND", "memory://keys")
            .env("API_LISTEN", "127.0.0.1:0");
    })
    .await
}

/// The exit status, and all that was said.
async fn run(database: &str, keys: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = start(database, keys, arguments).await;
    let status = process.wait(PATIENCE).await.code();
    (status, process.output())
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Accounts with a card each, sealed with the old key.
async fn subscribers(client: &Client) {
    let cipher = Cipher::from_keys(&OLD.into()).unwrap();
    let accounts: Vec<AccountId> = std::iter::repeat_with(AccountId::new).take(SUBSCRIBERS).collect();
    let tokens: Vec<String> = accounts.iter().map(|id| cipher.seal(Place::Token(*id), &"tk".into())).collect();
    let ids: Vec<String> = accounts.iter().map(ToString::to_string).collect();
    let subscribe = "with made as (
            insert into account (id, payment_token) select id::uuid, token from unnest($1::text[], $2::text[]) as kept (id, token)
            returning id, payment_token
        )
        insert into card (account_id, generation, token) select id, 1, payment_token from made";
    client.execute(subscribe, &[&ids, &tokens]).await.unwrap();
}

async fn sealed_by(client: &Client, key: &str) -> i64 {
    let count = "select count(*) from account where payment_token like $1 || '.%'";
    client.query_one(count, &[&key]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_key_is_rotated_through_a_kill_and_taken_away_when_nothing_needs_it() {
    let database = testkit::postgres().await;
    let url = database.url();
    assert_eq!(run(url, OLD, &["migrate"]).await.0, Some(0));
    let client = connect(url).await;
    subscribers(&client).await;
    let (status, said) = run(url, OLD, &["keys", "rotate"]).await;
    assert_eq!((status, said.contains("old  4000 rows  seals")), (Some(0), true), "{said}");

    // It is taken away too early: nothing starts, and the message says why.
    for role in [&["api"][..], &["worker"], &["beat"], &["keys", "rotate"]] {
        let (status, said) = run(url, NEW, role).await;
        assert_eq!(status, Some(64), "{role:?}: {said}");
        assert!(said.contains("ENCRYPTION_KEYS: the key `old` is missing, and 4000 rows"), "{role:?}: {said}");
    }

    let both = format!("{NEW},{OLD}");
    let rotating = start(url, &both, &["keys", "rotate"]).await;
    eventually(PATIENCE, || async {
        let done = sealed_by(&client, "new").await;
        if done > 0 { Ok(()) } else { Err(done) }
    })
    .await;
    rotating.signal(Signal::Kill);
    drop(rotating);
    let (status, said) = run(url, &both, &["keys", "rotate"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert_eq!((sealed_by(&client, "new").await, sealed_by(&client, "old").await), (4_000, 0), "{said}");
    assert!(
        said.contains("new  4000 rows  seals") && said.contains("old  0 rows  is needed for backups until 2"),
        "{said}"
    );

    let (status, said) = run(url, NEW, &["api"]).await;
    assert_eq!((status, said.contains("backups until 2")), (Some(64), true), "{said}");
    // Whoever keeps no backups may say so.
    let (status, said) = run(url, &both, &["keys", "rotate", "--backups-kept", "0s"]).await;
    assert_eq!((status, said.contains("old  0 rows  may be taken away")), (Some(0), true), "{said}");
    let mut api = start(url, NEW, &["api"]).await;
    api.wait_for_line("the API listens", PATIENCE).await;
    let (status, said) = run(url, NEW, &["keys", "list"]).await;
    assert_eq!((status, said.contains("old  0 rows  was taken away")), (Some(0), true), "{said}");
}
