//! A PostgreSQL database per test.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use anyhow::Context;
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::sync::OnceCell;
use url::Url;

use crate::environment::setting;
use crate::names;

/// A database of the test's own; dropped with this value, whoever is still connected.
///
/// A test that has not failed by then fails if the database has a view `journal_fault`, and that a row: whatever a test does
/// to money, the ledger balances at its end.
pub struct TestDatabase {
    name: String,
    url: String,
}

impl TestDatabase {
    /// `postgres://user:password@127.0.0.1:port/name`, of a superuser.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let faults = if std::thread::panicking() { Vec::new() } else { ledger_faults(&self.url) };
        let name = std::mem::take(&mut self.name);
        names::detached(async move {
            let mut server = connect().await?;
            drop_database(&mut server, &name).await
        });
        assert!(faults.is_empty(), "the ledger does not balance: {faults:#?}");
    }
}

/// What is wrong with the ledger of a database that has one. On a thread and a runtime of its own: a `Drop` cannot wait for a
/// future of the test's. A database that nobody is let into any more says nothing.
fn ledger_faults(url: &str) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Fault {
        #[diesel(sql_type = Text)]
        fault: String,
    }
    let url = url.to_owned();
    let look = async move {
        let Ok(mut database) = AsyncPgConnection::establish(&url).await else { return Ok(Vec::new()) };
        let ledger = "SELECT relname::text AS fault FROM pg_class WHERE oid = to_regclass('journal_fault')";
        let ledger: Vec<Fault> = diesel::sql_query(ledger).load(&mut database).await?;
        if ledger.is_empty() {
            return Ok(Vec::new());
        }
        let faults = "SELECT subject || ': ' || fault AS fault FROM journal_fault ORDER BY 1 LIMIT 20";
        let faults: Vec<Fault> = diesel::sql_query(faults).load(&mut database).await?;
        Ok(faults.into_iter().map(|row| row.fault).collect())
    };
    let looked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(look)
    });
    let looked: anyhow::Result<Vec<String>> = looked.join().expect("it does not panic");
    looked.unwrap_or_else(|error| vec![format!("it could not be read: {error:#}")])
}

/// An empty database.
pub async fn postgres() -> TestDatabase {
    clone_of("template1").await
}

/// A copy of a database that `migrate` prepares once per process: the first call with this `name` runs it with the
/// address of an empty database.
pub async fn postgres_from_template<F, Fut>(name: &str, migrate: F) -> TestDatabase
where
    F: FnOnce(String) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    static TEMPLATES: LazyLock<Mutex<HashMap<String, Arc<OnceCell<String>>>>> = LazyLock::new(Mutex::default);
    let template = {
        let mut templates = TEMPLATES.lock().expect("nothing panics while it is held");
        Arc::clone(templates.entry(name.to_owned()).or_default())
    };
    let template = template.get_or_try_init(|| make_template(migrate)).await;
    clone_of(template.unwrap_or_else(|error| panic!("the template {name}: {error:#}"))).await
}

/// A copy of a test's database as it is now, as a restored backup would be. Whoever is connected to it loses the connection.
pub async fn copy_of(database: &TestDatabase) -> TestDatabase {
    let of = &database.name;
    let copied = async {
        let mut server = connect().await?;
        server
            .batch_execute(&format!(
                "ALTER DATABASE {of} WITH ALLOW_CONNECTIONS false;
                 SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{of}';"
            ))
            .await?;
        let name = names::unique();
        create_database(&mut server, &name, of).await?;
        server.batch_execute(&format!("ALTER DATABASE {of} WITH ALLOW_CONNECTIONS true")).await?;
        anyhow::Ok(name)
    };
    let name = copied.await.unwrap_or_else(|error| panic!("a copy of a test database: {error:#}"));
    TestDatabase { url: address_of(&name), name }
}

async fn make_template<F, Fut>(migrate: F) -> anyhow::Result<String>
where
    F: FnOnce(String) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let mut server = connect().await?;
    drop_orphans(&mut server).await?;
    let name = names::unique();
    create_database(&mut server, &name, "template1").await?;
    migrate(address_of(&name)).await?;
    // A database is copied only while nobody is connected to it.
    server
        .batch_execute(&format!(
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false;
             SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}';"
        ))
        .await?;
    Ok(name)
}

async fn clone_of(template: &str) -> TestDatabase {
    let name = names::unique();
    let created = async { create_database(&mut connect().await?, &name, template).await };
    created.await.unwrap_or_else(|error| panic!("a test database: {error:#}"));
    TestDatabase { url: address_of(&name), name }
}

async fn connect() -> anyhow::Result<AsyncPgConnection> {
    AsyncPgConnection::establish(&setting("TEST_DATABASE_URL")).await.context("TEST_DATABASE_URL does not answer")
}

async fn create_database(server: &mut AsyncPgConnection, name: &str, template: &str) -> anyhow::Result<()> {
    server.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.context("CREATE DATABASE")
}

async fn drop_database(server: &mut AsyncPgConnection, name: &str) -> anyhow::Result<()> {
    server.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.context("DROP DATABASE")
}

/// Templates, which nobody drops, and what killed tests left.
async fn drop_orphans(server: &mut AsyncPgConnection) -> anyhow::Result<()> {
    #[derive(QueryableByName)]
    struct Database {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let all: Vec<Database> = diesel::sql_query("SELECT datname::text AS name FROM pg_database").load(server).await?;
    for orphan in all.iter().filter(|database| names::is_orphan(&database.name)) {
        drop_database(server, &orphan.name).await?;
    }
    Ok(())
}

fn address_of(database: &str) -> String {
    let mut url = Url::parse(&setting("TEST_DATABASE_URL")).expect("TEST_DATABASE_URL is a URL");
    url.set_path(database);
    url.into()
}
