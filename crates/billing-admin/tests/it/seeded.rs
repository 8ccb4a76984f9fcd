//! A database with the tariffs on sale, and what a panel on it is started with.

use billing::ServicesConfig;
use billing::db::Db;
use billing::store::tariffs;
use clap::Parser;
use testkit::TestDatabase;

#[derive(Parser)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) services: ServicesConfig,
    #[command(flatten)]
    pub(crate) admin: billing_admin::Config,
}

pub(crate) async fn database() -> TestDatabase {
    testkit::postgres_from_template("billing", |url| async move {
        let db = Db::connect(&url, 1).await?;
        db.migrate().await?;
        tariffs::seed(&mut *db.conn().await?, &tariffs::defaults(), db.now()).await?;
        Ok(())
    })
    .await
}
