//! The ways to a database: several servers, TLS, poolers, and servers that speak another language.

use std::process::Command;
use std::time::Duration;

use billing::db::{Db, DbError};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use testkit::{FaultProxy, OwnServer};
use url::Url;

use crate::shop::Shop;

fn server(url: &str) -> String {
    let url = Url::parse(url).unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
}

async fn admin(server: &OwnServer) -> AsyncPgConnection {
    AsyncPgConnection::establish(server.url()).await.unwrap()
}

async fn refused(url: &str) -> String {
    match Db::connect(url, 2).await {
        Err(DbError::Refused(reason)) => reason,
        Err(other) => panic!("{url} is only unavailable: {other}"),
        Ok(_) => panic!("{url} was accepted"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_first_server_does_not_hide_the_second() {
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.database.url()).await;
    let both = shop
        .database
        .url()
        .replace(&server(shop.database.url()), &format!("{},{}", proxy.addr(), server(shop.database.url())));
    let before = Db::connect(&both, 2).await.unwrap();
    drop(before.conn().await.unwrap());
    proxy.pause();
    let began = tokio::time::Instant::now();
    for url in [both.clone(), format!("{both}?connect_timeout=2")] {
        let db = Db::connect(&url, 2).await.unwrap();
        billing::store::tariffs::list(&mut db.conn().await.unwrap(), crate::support::noon()).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_mixes_statements_up_is_refused_with_what_to_do() {
    let shop = Shop::open().await;
    let transaction = testkit::pgbouncer(shop.database.url(), "transaction").await;
    let reason = refused(transaction.url()).await;
    for part in ["PgBouncer 1.21", "max_prepared_statements", "pool_mode = session"] {
        assert!(reason.contains(part), "{reason}");
    }
    let session = testkit::pgbouncer(shop.database.url(), "session").await;
    let db = Db::connect(session.url(), 4).await.unwrap();
    billing::store::tariffs::list(&mut db.conn().await.unwrap(), crate::support::noon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_behind_tls_is_reached_with_the_authority_and_the_certificate_that_the_address_names() {
    let postgres = testkit::own_postgres().await;
    let files = Files::new();
    files.require_certificates(&mut admin(&postgres).await).await;
    let (ca, me, key) = (files.path("ca.pem"), files.path("client.pem"), files.path("client.key"));
    let url = postgres.url().replace("127.0.0.1", "localhost");
    let with = |query: &str| format!("{url}?{query}");
    let ours = format!("sslrootcert={ca}&sslcert={me}&sslkey={key}");
    for mode in ["require", "verify-ca", "verify-full"] {
        let db = Db::connect(&with(&format!("sslmode={mode}&{ours}")), 2).await.unwrap();
        let mut conn = db.conn().await.unwrap();
        let encrypted = diesel::sql_query("SELECT 1 FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl");
        assert_eq!(encrypted.execute(&mut *conn).await.unwrap(), 1, "{mode}");
    }
    let other_name = postgres.url();
    assert!(Db::connect(&format!("{other_name}?sslmode=verify-ca&{ours}"), 2).await.is_ok());
    assert!(refused(&format!("{other_name}?sslmode=verify-full&{ours}")).await.contains("certificate"));
    assert!(refused(&with(&format!("sslmode=verify-full&sslcert={me}&sslkey={key}"))).await.contains("certificate"));
    assert!(refused(&with("sslmode=verify-full&sslrootcert=/nowhere/ca.pem")).await.contains("sslrootcert /nowhere"));
    assert!(Db::connect(&with(&format!("sslmode=verify-full&sslrootcert={ca}")), 2).await.is_err(), "without ours");
    assert!(Db::connect(&url, 2).await.is_err(), "in the clear");
}

/// An authority's files, and certificates of a server and of a client called `postgres`.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        for (name, common_name) in [("server", "localhost"), ("client", "postgres")] {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, common_name);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(directory.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(directory.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self(directory)
    }

    fn path(&self, file: &str) -> String {
        self.0.path().join(file).display().to_string()
    }

    /// From now on the server speaks TLS alone, and with those alone who have a certificate. It writes its files itself:
    /// they must be its own.
    async fn require_certificates(&self, admin: &mut AsyncPgConnection) {
        for file in ["ca.pem", "server.pem", "server.key"] {
            let text = std::fs::read_to_string(self.path(file)).unwrap();
            write(admin, file, &text).await;
        }
        write(admin, "pg_hba.conf", "hostssl all all all cert").await;
        for setting in
            ["ssl_ca_file = 'ca.pem'", "ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl = on"]
        {
            admin.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
        }
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }
}

/// Writes a file in the directory of a server.
async fn write(admin: &mut AsyncPgConnection, file: &str, text: &str) {
    let lines = text.lines().map(|line| format!("('{line}')")).collect::<Vec<_>>().join(",");
    let program = format!("umask 077 && cat > {file}");
    let copy = format!("COPY (SELECT line FROM (VALUES {lines}) AS lines (line)) TO PROGRAM '{program}'");
    admin.batch_execute(&copy).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_understood_in_the_language_of_the_server() {
    let locales = tempfile::tempdir().unwrap();
    let locale = locales.path().join("ru_RU.UTF-8");
    let made = Command::new("localedef").args(["-i", "ru_RU", "-f", "UTF-8"]).arg(&locale).output().unwrap();
    assert!(locale.join("LC_MESSAGES").exists(), "{made:?}");
    open_to_all(locales.path());
    let postgres = testkit::own_postgres_with(&[("LOCPATH", locales.path().to_str().unwrap())]).await;
    let mut admin = admin(&postgres).await;
    admin.batch_execute("ALTER SYSTEM SET lc_messages = 'ru_RU.UTF-8'").await.unwrap();
    admin.batch_execute("ALTER USER postgres PASSWORD 'right'").await.unwrap();
    write(&mut admin, "pg_hba.conf", "host all all all scram-sha-256").await;
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let with = |password: &str| postgres.url().replace("postgres:postgres@", &format!("postgres:{password}@"));

    let wrong = testkit::eventually(Duration::from_secs(20), || async {
        match Db::connect(&with("wrong"), 1).await {
            Err(DbError::Refused(reason)) => Ok(reason),
            other => Err(format!("{:?}", other.map(drop))),
        }
    })
    .await;
    assert!(wrong.contains("28P01"), "{wrong}");
    let mut elsewhere = Url::parse(&with("right")).unwrap();
    elsewhere.set_path("nowhere");
    let no_database = refused(elsewhere.as_str()).await;
    assert!(no_database.contains("3D000"), "{no_database}");

    let db = Db::connect(&with("right"), 1).await.unwrap();
    let mut conn = db.conn().await.unwrap();
    conn.batch_execute("SET statement_timeout = '10ms'").await.unwrap();
    let late: DbError = diesel::sql_query("SELECT pg_sleep(10)").execute(&mut *conn).await.unwrap_err().into();
    assert!(late.is_transient(), "{late}");
    assert!(
        late.to_string().contains("57014: ") && !late.to_string().contains("canceling"),
        "it spoke English: {late}"
    );
    let ours: DbError = diesel::sql_query("SELECT nothing").execute(&mut *conn).await.unwrap_err().into();
    assert!(matches!(ours, DbError::Query(_)), "{ours}");
    for (code, passes) in [("40P01", true), ("53100", true), ("55P03", true), ("57P01", true), ("P0001", false)] {
        let raise = format!("DO $$ BEGIN RAISE 'беда' USING ERRCODE = '{code}'; END $$");
        let error: DbError = conn.batch_execute(&raise).await.unwrap_err().into();
        assert_eq!(error.is_transient(), passes, "{code}: {error}");
    }
}

/// The server is another user.
fn open_to_all(directory: &std::path::Path) {
    let opened = Command::new("chmod").args(["-R", "a+rX"]).arg(directory).status();
    assert!(opened.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_the_server_falls_silent_does_not_hold_its_caller_for_ever() {
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.database.url()).await;
    let both = format!("{},{}", proxy.addr(), server(shop.database.url()));
    let db = Db::connect(&shop.database.url().replace(&server(shop.database.url()), &both), 2).await.unwrap();
    drop(db.conn().await.unwrap());
    proxy.pause();
    // The pool has one that is silent now; the next is made elsewhere.
    let held = db.conn().await.unwrap();
    let mut other = tokio::time::timeout(Duration::from_secs(15), db.conn()).await.expect("in time").unwrap();
    billing::store::tariffs::list(&mut other, crate::support::noon()).await.unwrap();
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_too_long_to_open_is_closed_and_not_kept() {
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.database.url()).await;
    let db = Db::connect(&format!("{}?connect_timeout=2", proxy.url(shop.database.url())), 4).await.unwrap();
    // One is in the pool, so that more than it are opened.
    let held = db.conn().await.unwrap();
    let before = proxy.open();
    proxy.delay(Duration::from_secs(5));
    let (one, two) = tokio::join!(db.conn(), db.conn());
    assert!(one.is_err() && two.is_err(), "nothing comes within two seconds");
    proxy.delay(Duration::ZERO);
    testkit::eventually(Duration::from_secs(20), async || proxy.open() <= before).await;
    drop(held);
    drop(db.conn().await.unwrap());
}
