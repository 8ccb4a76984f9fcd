//! The ledger in the database: what is entered with each event of money, and what PostgreSQL refuses. That it agrees with the
//! payments is looked at after every test, by the test database itself.

use billing::ledger::{Entry, EntryKind, LedgerAccount, Subject};
use billing::payment::identity::Terminal;
use billing::payment::{Outcome, PaymentState};
use billing::store::journal;
use billing::store::orphans::{self, Orphan};
use billing::{Currency, Kopecks};
use chrono_tz::Tz;
use diesel_async::SimpleAsyncConnection;

use crate::shop::{Shop, refused, took, unknown};
use crate::support::{at, minutes, noon, sample};

/// Kinds and lines of all entries, in their order.
const JOURNAL: &str = "select string_agg(text, '; ' order by id) from (
    select e.id, e.kind || ' ' || string_agg(l.account || ' ' || l.amount, ', ' order by l.no) as text
    from journal_entry e join journal_line l on l.entry_id = e.id group by e.id) as entry";

async fn journal_of(shop: &Shop) -> String {
    shop.text(JOURNAL).await.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_entered_when_it_is_taken_and_only_then_and_once() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, unknown(noon()), noon()).await;
    assert_eq!(journal_of(&shop).await, "", "in doubt");

    for _ in 0..2 {
        shop.apply(payment.id, took(&payment, 7), noon() + minutes(1)).await;
    }
    assert_eq!(journal_of(&shop).await, "payment gateway_clearing 39900, deferred_revenue -39900");
    let of_it = format!(
        "journal_entry where payment_id = '{}' and account_id = '{}' and transaction_id = 7 and day = '2026-03-10'",
        payment.id, payment.account_id
    );
    assert_eq!(shop.count(&of_it).await, 1);

    let other = shop.created().await;
    shop.charge(other.id, refused(5051), noon()).await;
    assert_eq!(shop.count("journal_entry").await, 1, "a refusal is no money");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_of_an_entry_is_that_of_the_billing_zone() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.send(payment.id, noon()).await;
    shop.apply(payment.id, took(&payment, 7), at("2026-03-10T21:30:00Z")).await;
    assert_eq!(shop.text("select day from journal_entry").await.as_deref(), Some("2026-03-11"));
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_nobody_owes_is_owed_back() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, took(&payment, 7), noon()).await;
    // The gateway took it twice.
    shop.apply(payment.id, took(&payment, 8), noon()).await;
    assert_eq!(
        journal_of(&shop).await,
        "payment gateway_clearing 39900, deferred_revenue -39900; payment gateway_clearing 39900, refunds_payable -39900"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_before_we_knew_of_it_comes_and_goes() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, unknown(noon()), noon()).await;
    let back = Outcome::Refunded {
        transaction_id: 7,
        token: None,
        amount: payment.amount,
        currency: payment.currency,
        card: None,
        whole: true,
    };
    let applied = shop.apply(payment.id, back, noon() + minutes(1)).await;
    assert_eq!(applied.payment.state, PaymentState::Succeeded);
    assert_eq!(
        journal_of(&shop).await,
        "payment gateway_clearing 39900, refunds_payable -39900; refund refunds_payable 39900, gateway_clearing -39900"
    );
}

fn orphan(transaction_id: i64, test_mode: Option<bool>) -> Orphan {
    Orphan {
        payment_id: None,
        transaction_id,
        what: "another's".into(),
        status: Some("Completed".into()),
        invoice_id: None,
        account_id: None,
        amount: Some(Kopecks::new(39_900)),
        currency: Some("RUB".into()),
        test_mode,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_fits_nothing_is_in_suspense_until_it_has_a_place() {
    let shop = Shop::open().await;
    let report = async |orphan: Orphan, terminal| {
        orphans::report(&mut *shop.conn().await, &orphan, terminal, Tz::Europe__Moscow, noon()).await.unwrap()
    };
    assert!(report(orphan(7, Some(false)), Terminal::Live).await);
    assert!(!report(orphan(7, Some(false)), Terminal::Live).await, "it is known");
    assert!(report(orphan(8, Some(true)), Terminal::Live).await, "no money was taken");
    assert!(report(Orphan { status: Some("Declined".into()), ..orphan(9, None) }, Terminal::Live).await);
    let in_suspense = "suspense gateway_clearing 39900, suspense -39900";
    assert_eq!(journal_of(&shop).await, in_suspense);

    let payment = shop.created().await;
    shop.charge(payment.id, took(&payment, 7), noon()).await;
    assert_eq!(
        journal_of(&shop).await,
        format!("{in_suspense}; placement suspense 39900, deferred_revenue -39900"),
        "the same transaction is not taken twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_money_than_the_bill_s_waits_in_suspense() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let other = Outcome::Completed {
        transaction_id: 7,
        token: None,
        amount: Kopecks::new(100),
        currency: Currency::RUB,
        card: None,
    };
    let applied = shop.charge(payment.id, other, noon()).await;
    assert_eq!(applied.payment.state, PaymentState::Unknown);
    assert_eq!(journal_of(&shop).await, "suspense gateway_clearing 100, suspense -100");
}

fn entry(key: &str) -> Entry {
    Entry::new(EntryKind::Payout, key.into(), Currency::RUB, Subject::default(), noon(), Tz::Europe__Moscow)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_is_entered_once_by_its_key() {
    let shop = Shop::open().await;
    let paid_out = entry("payout:1").post(LedgerAccount::Bank, LedgerAccount::GatewayClearing, Kopecks::new(5));
    let mut conn = shop.conn().await;
    assert!(journal::write(&mut conn, &paid_out).await.unwrap());
    assert!(!journal::write(&mut conn, &paid_out).await.unwrap());
    assert!(!journal::write(&mut conn, &entry("nothing")).await.unwrap(), "nothing moves");
    drop(conn);
    assert_eq!(shop.count("journal_line").await, 2);
}

/// Statements of one transaction, and what is said against it.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_what_does_not_balance_and_every_change() {
    let shop = Shop::open().await;
    shop.subscribed(crate::shop::month(), sample::TRANSACTION).await;
    let entry = "with entry as (insert into journal_entry (day, at, kind, key, currency)
        values ('2026-03-10', now(), 'payout', 'by hand', 'RUB') returning id)";
    let line = |amount| format!("{entry} insert into journal_line select id, 1, 'bank', {amount} from entry;");
    let second = "insert into journal_line select max(id), 2, 'fees', -4 from journal_entry;";
    let unbalanced = "does not balance";
    for (statements, said) in [
        (line("5"), unbalanced),
        (format!("{} {second}", line("5")), unbalanced),
        (format!("{} set constraints all immediate;", line("5")), unbalanced),
        (format!("{} {second} set constraints all immediate; {second}", line("4")), "journal_line_pkey"),
        (format!("{entry} select 1 from entry;"), "has no lines"),
        (
            "insert into journal_line select min(id), 3, 'bank', 1 from journal_entry;".into(),
            "is not of the transaction",
        ),
        (line("0"), "journal_line_amount_check"),
        ("update journal_entry set day = day + 1;".into(), "append-only"),
        ("update journal_line set amount = amount;".into(), "append-only"),
        ("delete from journal_line;".into(), "append-only"),
        ("delete from journal_entry;".into(), "append-only"),
        ("truncate journal_line;".into(), "append-only"),
        ("truncate journal_entry;".into(), "append-only"),
        ("set local session_replication_role = replica; delete from journal_line;".into(), "append-only"),
    ] {
        let mut conn = shop.conn().await;
        let refused = conn.batch_execute(&format!("begin; {statements} commit;")).await.unwrap_err().to_string();
        conn.batch_execute("rollback").await.unwrap();
        assert!(refused.contains(said), "{statements}: {refused}");
    }
    let mut conn = shop.conn().await;
    conn.batch_execute(&format!("begin; {} {second} commit;", line("4"))).await.unwrap();
    drop(conn);
    assert_eq!(shop.count("journal_entry").await, 2, "one that balances is taken, in any order of its lines");
}

/// The look at the ledger after each test sees what it should.
#[tokio::test(flavor = "multi_thread")]
async fn money_without_an_entry_and_an_entry_without_money_are_faults() {
    let shop = Shop::open().await;
    shop.subscribed(crate::shop::month(), sample::TRANSACTION).await;
    assert_eq!(shop.count("journal_fault").await, 0);
    let mut conn = shop.conn().await;
    for (forged, said) in [
        ("update payment set amount = 39800", "has taken 39800 RUB, the ledger has 39900 RUB"),
        ("update payment set currency = 'EUR'", "has taken 39900 EUR, the ledger has nothing"),
        ("update payment set state = 'declined', is_success = false", "has taken nothing, the ledger has 39900 RUB"),
    ] {
        conn.batch_execute(&format!("begin; {forged}")).await.unwrap();
        let found = format!("journal_fault where fault = '{said}'");
        let query = diesel::sql_query(format!("select count(*) as n from {found}"));
        let count: Count = diesel_async::RunQueryDsl::get_result(query, &mut *conn).await.unwrap();
        assert_eq!(count.n, 1, "{forged}");
        conn.batch_execute("rollback").await.unwrap();
    }
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}
