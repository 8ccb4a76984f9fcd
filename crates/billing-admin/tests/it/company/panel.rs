//! A panel with a database of its own, served for a person.

use billing::cipher::Cipher;
use billing::db::{Conn, Db};
use billing::staff::{Role, password};
use billing::store::staff::{self, Staff};
use chrono::{DateTime, Utc};
use clap::Parser;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl as _;
use testkit::TestDatabase;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{PASSWORD, by};
use crate::seeded::{self, Options};

/// What is set besides the provider.
pub(super) enum Setting {
    Mfa(&'static str),
    SecondFactor,
    Only,
}

pub(super) struct Panel {
    pub(super) address: String,
    pub(super) issuer: String,
    pub(super) cipher: Cipher,
    db: Db,
    _stop: DropGuard,
    _database: TestDatabase,
}

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    text: String,
}

impl Panel {
    pub(super) async fn open(issuer: &str, settings: &[Setting]) -> Self {
        let database = seeded::database().await;
        let memory = format!("memory://{}", uuid::Uuid::new_v4());
        let listen = format!("127.0.0.1:{}", testkit::free_port());
        let address = format!("http://{listen}");
        let mut options = vec!["admin", "--database-url", database.url(), "--broker-url", &memory];
        options.extend(["--result-backend", &memory, "--admin-listen", &listen, "--admin-address", &address]);
        options.extend(["--admin-oidc-issuer", issuer, "--admin-oidc-client-id", "billing"]);
        options.extend(["--admin-oidc-client-secret", "a secret of a test"]);
        for setting in settings {
            match setting {
                Setting::Mfa(value) => options.extend(["--admin-oidc-mfa", value]),
                Setting::SecondFactor => options.push("--admin-second-factor"),
                Setting::Only => options.push("--admin-oidc-only"),
            }
        }
        let options = Options::parse_from(options);
        let services = options.services.connect().await.expect("the services answer");
        let (db, cipher, stop) = (services.db.clone(), services.cipher.clone(), CancellationToken::new());
        let bound = billing_admin::bind(options.admin).await.expect("the port is free");
        tokio::spawn(bound.run(services, stop.clone()));
        Self { address, issuer: issuer.to_owned(), cipher, db, _stop: stop.drop_guard(), _database: database }
    }

    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.db.now()
    }

    pub(super) async fn conn(&self) -> Conn {
        self.db.conn().await.expect("it answers")
    }

    /// Somebody who was let in, and has not come yet.
    pub(super) async fn add(&self, name: &str, role: Role) -> Staff {
        staff::add(&mut *self.conn().await, name, role, password::NONE, &by(), self.now()).await.expect("it is new")
    }

    pub(super) async fn add_with_password(&self, name: &str, role: Role) {
        let (mut conn, now, hash) = (self.conn().await, self.now(), password::hash(&PASSWORD.into()));
        let link = staff::invite(&mut conn, name, role, &by(), now).await.expect("nobody has this name");
        let accepted = staff::accept_invitation(&mut conn, &link, &hash, "127.0.0.1", now).await;
        accepted.expect("it answers").expect("the link is new");
    }

    pub(super) async fn run(&self, sql: &str) {
        diesel::sql_query(sql).execute(&mut *self.conn().await).await.expect("it can be run");
    }

    /// The audit log: who, what and why, but for what the command line did.
    pub(super) async fn log(&self) -> Vec<String> {
        let sql = "select name || ' ' || action || ' ' || coalesce(reason, '-') as text from audit_log \
                   where role <> 'command line' order by id";
        let lines: Vec<Line> = diesel::sql_query(sql).load(&mut *self.conn().await).await.expect("it can be read");
        lines.into_iter().map(|line| line.text).collect()
    }
}
