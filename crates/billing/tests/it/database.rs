//! The pool: one connection is enough, nobody waits for ever, errors say what to do.

use std::time::Duration;

use billing::db::{Db, DbError};
use billing::payment::PaymentState;
use testkit::FaultProxy;

use crate::shop::{Shop, month, purchase, took};
use crate::support::{hours, noon};

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_enough_for_everything() {
    let shop = std::sync::Arc::new(Shop::with_connections(1).await);
    let whole_life = async |shop: &Shop| {
        let payment = shop.created().await;
        shop.charge(payment.id, took(&payment, payment.invoice_no), noon()).await;
        let due = shop.account_of(payment.account_id).await.paid_until.unwrap();
        let _ = shop.open_due(due).await;
        shop.view(payment.id).await.state
    };
    let running: Vec<_> = (0..8)
        .map(|_| {
            let shop = std::sync::Arc::clone(&shop);
            tokio::spawn(async move { whole_life(&shop).await })
        })
        .collect();
    for life in running {
        assert_eq!(life.await.unwrap(), PaymentState::Succeeded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_given_up_half_way_leaves_nothing_and_blocks_nobody() {
    let shop = Shop::with_connections(1).await;
    let account = shop.account().await;
    for micros in [50, 200, 500, 1_000, 2_000, 4_000] {
        let creating = shop.create(purchase(account));
        drop(tokio::time::timeout(Duration::from_micros(micros), creating).await);
    }
    // The connection that was in the middle is not used again.
    let _ = shop.create(purchase(account)).await;
    assert_eq!(shop.count("payment").await, 1);
    assert_eq!(shop.count("bill where status = 'In work'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_is_replaced() {
    let shop = Shop::open().await;
    let proxy = FaultProxy::start(shop.database.url()).await;
    let db = Db::connect(&proxy.url(shop.database.url()), 1).await.unwrap();
    proxy.cut();
    testkit::eventually(Duration::from_secs(10), || async {
        let mut conn = db.conn().await.map_err(|error| error.to_string())?;
        billing::store::tariffs::list(&mut conn, crate::support::noon()).await.map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_may_come_and_a_wrong_address_never_helps() {
    let shop = Shop::open().await;
    let mut url = url::Url::parse(shop.database.url()).unwrap();
    let closed = testkit::free_port();
    let nobody = Db::connect(&format!("postgres://u:secret@127.0.0.1:{closed}/x"), 1).await.unwrap_err();
    assert!(nobody.is_transient(), "{nobody}");
    assert!(!nobody.to_string().contains("secret"));

    for wrong in ["not a url", "postgres://127.0.0.1:port/x"] {
        let error = Db::connect(wrong, 1).await.unwrap_err();
        assert!(matches!(error, DbError::Refused(_)), "{error}");
    }
    url.set_path("no_such_database");
    assert!(matches!(Db::connect(url.as_str(), 1).await.unwrap_err(), DbError::Refused(_)));
    let mut url = url::Url::parse(shop.database.url()).unwrap();
    url.set_username("nobody_known").unwrap();
    url.set_password(Some("wrong")).unwrap();
    let error = Db::connect(url.as_str(), 1).await.unwrap_err();
    assert!(matches!(error, DbError::Refused(_)), "{error}");
    assert!(!shop.db.address().contains('@') && shop.db.address().starts_with("127.0.0.1:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_locks_and_idle_transactions_have_deadlines() {
    let shop = Shop::open().await;
    for setting in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        let value = shop.text(&format!("select current_setting('{setting}')")).await.unwrap();
        assert_ne!(value, "0", "{setting}");
    }
    assert_eq!(shop.text("select current_setting('TimeZone')").await.unwrap(), "UTC");
    let mut conn = shop.conn().await;
    use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
    conn.batch_execute("set statement_timeout = '10ms'").await.unwrap();
    let error: DbError = diesel::sql_query("select pg_sleep(10)").execute(&mut *conn).await.unwrap_err().into();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn seeding_again_changes_nothing() {
    let shop = Shop::open().await;
    let before = shop.everything().await;
    let defaults = billing::store::tariffs::defaults();
    let seed =
        async || billing::store::tariffs::seed(&mut *shop.conn().await, &defaults, noon() + hours(1)).await.unwrap();
    assert_eq!(seed().await, 0);
    assert_eq!(shop.everything().await, before);
    let listed = billing::store::tariffs::list(&mut *shop.conn().await, crate::support::noon()).await.unwrap();
    let shown: Vec<_> =
        listed.iter().map(|t| format!("{} {} {}", t.name, t.period, t.amount.in_currency(t.currency))).collect();
    assert_eq!(shown, ["День 1 day 59.00 RUB", "Месяц 1 month 399.00 RUB", "Год 12 months 2990.00 RUB"]);
    shop.sql(&format!("update tariff set is_active = false where id = '{}'", month())).await.unwrap();
    assert_eq!(billing::store::tariffs::list(&mut *shop.conn().await, crate::support::noon()).await.unwrap().len(), 2);
}
