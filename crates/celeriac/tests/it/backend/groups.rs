//! Stored groups, and Celery's own `GroupResult` at the other end.

use celeriac::App;
use celeriac::protocol::ResultTuple;
use testkit::run_python;

use super::{SOON, Setup, id, result};

/// The group as Celery stores it.
fn group(id: &str, members: &[&str]) -> String {
    let members = members.iter().map(|member| ResultTuple::task(*member)).collect();
    let mut text = br#"{"result": "#.to_vec();
    ResultTuple { id: id.to_owned(), parent: None, children: Some(members) }.write(&mut text);
    text.push(b'}');
    String::from_utf8(text).unwrap()
}

pub(super) async fn a_group_is_stored_replaced_restored_and_forgotten(setup: Setup) {
    let (backend, id) = (setup.open().await, id());
    assert_eq!(backend.group(&id).await.unwrap(), None);
    backend.save_group(&id, &group(&id, &["a"])).await.unwrap();
    backend.save_group(&id, &group(&id, &["a", "b"])).await.unwrap();
    assert_eq!(setup.open().await.group(&id).await.unwrap(), Some(group(&id, &["a", "b"])));
    // A group and a task may have the same id.
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    backend.forget_group(&id).await.unwrap();
    backend.forget_group(&id).await.unwrap();
    assert_eq!(backend.group(&id).await.unwrap(), None);
    assert!(backend.get(&id).await.unwrap().is_some());
}

pub(super) async fn a_group_expires(setup: Setup) {
    let (backend, id) = (setup.open_expiring(Some(std::time::Duration::from_secs(1))).await, id());
    backend.save_group(&id, &group(&id, &["a"])).await.unwrap();
    assert!(backend.group(&id).await.unwrap().is_some());
    testkit::eventually(SOON, async || backend.group(&id).await.unwrap().is_none()).await;
}

/// Runs `result_peer.py`.
pub(super) async fn python(command: &str, setup: &Setup, ids: &[&str]) {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backend/result_peer.py");
    let said = run_python(script, [&[command, setup.url.as_str()], ids].concat()).await;
    assert_eq!(said.lines().last(), Some("ok"), "{said}");
}

async fn python_and_we_restore_each_others_groups(setup: Setup) {
    let broker = format!("memory://{}", uuid::Uuid::new_v4());
    let app = App::builder().broker(&broker).backend(&setup.url).build().await.unwrap();
    python("save", &setup, &["theirs", "a", "b"]).await;
    let restored = app.restore_group("theirs").await.unwrap().expect("it is stored");
    let members = restored.results::<()>();
    assert_eq!(members.iter().map(celeriac::AsyncResult::id).collect::<Vec<_>>(), ["a", "b"]);

    app.backend().save_group("ours", &group("ours", &["c", "d"])).await.unwrap();
    python("restore", &setup, &["ours", "c", "d"]).await;
    restored.forget().await.unwrap();
    assert!(app.restore_group("theirs").await.unwrap().is_none());
    python("gone", &setup, &["theirs"]).await;
}

#[tokio::test]
async fn python_and_we_restore_each_others_groups_in_redis() {
    python_and_we_restore_each_others_groups(Setup::redis().await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn python_and_we_restore_each_others_groups_in_postgresql() {
    python_and_we_restore_each_others_groups(Setup::postgres().await).await;
}
