//! What is not as we sent it gives no access, is kept for a person, and is not told a hundred times.

use billing::payment::PaymentState;
use billing::payment::identity::Terminal;

use super::gateway::{Reply, pay};
use crate::world::World;

/// C10 and C38.
#[tokio::test(flavor = "multi_thread")]
async fn what_differs_gives_no_access_and_waits_for_a_person() {
    let world = World::notified().await;
    let theirs = r#"{"payment_id":"018f0000-0000-7000-8000-0000000000ff"}"#;
    let other = uuid::Uuid::new_v4().to_string();
    let cases: [(&str, &[(&str, &str)]); 7] = [
        ("another account", &[("AccountId", &other)]),
        ("another payment's data", &[("Data", theirs)]),
        ("another account and no data", &[("AccountId", &other), ("Data", "")]),
        ("another amount", &[("Amount", "39.90")]),
        ("another currency", &[("Currency", "USD")]),
        ("with money on a test terminal", &[("TestMode", "0")]),
        ("an unknown invoice of another shop", &[("InvoiceId", "99999"), ("Data", ""), ("AccountId", &other)]),
    ];
    for (n, (what, instead)) in (1..).zip(cases) {
        let payment = world.sending().await;
        assert_eq!(world.notify("pay", &pay(&payment, n, instead)).await, Reply::accepted(), "{what}");
        assert!(!world.state_of(payment.id).await.is_success(), "{what}");
        assert_eq!(world.count(&format!("orphan where transaction_id = {n}")).await, 1, "{what}");
        // Told again it is known.
        assert_eq!(world.notify("pay", &pay(&payment, n, instead)).await, Reply::accepted(), "{what}");
    }
    assert_eq!(world.count("account where status = 'Active'").await, 0);
    assert_eq!(world.count("bill where status = 'Paid'").await, 0);
    assert_eq!(world.count("orphan").await, 7);
}

/// C10.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_test_mode_is_none_on_a_live_terminal() {
    let world = World::notified_with(|config| config.terminal = Some(Terminal::Live)).await;
    let payment = world.sending().await;
    assert_eq!(world.notify("pay", &pay(&payment, 1, &[])).await, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Rejected);
    assert_eq!(world.count("account where status = 'Active'").await, 0);
    assert_eq!(world.count("orphan").await, 1);
}

/// C35.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_in_the_gateways_words_breaks_nothing() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let more = pay(&payment, 1, &[("Status", "Settling"), ("NewParameter", "x"), ("AnotherOne", "y")]);
    assert_eq!(world.notify("pay", &more).await, Reply::accepted());
    // It says that something has happened, not what: the gateway is asked.
    assert_eq!(world.state_of(payment.id).await, PaymentState::Unknown);
    assert_eq!(world.count("orphan where what like '%Settling%'").await, 1);

    let payment = world.sending().await;
    let payout = pay(&payment, 2, &[("OperationType", "CardPayout")]);
    assert_eq!(world.notify("pay", &payout).await, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Sending);
    assert_eq!(world.count("orphan where transaction_id = 2").await, 1);

    let known = pay(&payment, 3, &[("NewParameter", "x")]);
    assert_eq!(world.notify("pay", &known).await, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_of_the_gateways_own_is_an_orphan_and_a_receipt_is_kept() {
    let world = World::notified().await;
    let payment = world.sending().await;
    world.notify("pay", &pay(&payment, 455, &[])).await;
    assert_eq!(
        world.notify("recurrent", "Id=sc_8cf8a9338fb8ebf7202b08d09c938&Status=PastDue&AccountId=a").await,
        Reply::accepted()
    );
    assert_eq!(world.count("notification where kind = 'recurrent' and effect = 'orphan'").await, 1);

    let receipt = "Id=rc-1&Type=Income&DocumentNumber=21&FiscalSign=3115431&TransactionId=455&Amount=9.90&\
        Url=https%3A%2F%2Freceipts.ru%2Frc-1";
    assert_eq!(world.notify("receipt", receipt).await, Reply::accepted());
    let mut conn = world.services.db.conn().await.unwrap();
    let told = billing::store::notifications::of_payment(&mut conn, payment.id).await.unwrap();
    let fiscal = told.iter().find_map(|kept| kept.notice.fiscal.clone()).expect("a receipt");
    assert_eq!(fiscal.fiscal_sign.as_deref(), Some("3115431"));
    assert_eq!(fiscal.url.as_deref(), Some("https://receipts.ru/rc-1"));
    let later = world.services.db.now() + chrono::TimeDelta::days(400);
    billing::store::notifications::keep(&mut conn, later, 100).await.unwrap();
    drop(conn);
    assert_eq!(world.count("notification").await, 1, "the receipt stays");
}

/// Whoever has the address of a Check set to that of Pay, or repeats a Check there, has paid for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_sent_to_another_address_pays_for_nothing_and_has_the_gateway_asked() {
    let world = World::notified().await;
    let payment = world.sending().await;
    // All that a Check has, and nothing that only comes with a payment that was made.
    let check = pay(&payment, 455, &[("GatewayName", ""), ("Token", "")]);
    for kind in ["pay", "confirm"] {
        assert_eq!(world.notify(kind, &check).await, Reply::accepted(), "{kind}");
        let state = world.state_of(payment.id).await;
        assert!(matches!(state, PaymentState::Sending | PaymentState::Unknown), "{kind}: {state}");
    }
    assert_eq!(world.count("journal_entry").await, 0, "no money has moved");
    assert_eq!(world.count("notification where effect in ('look', 'nothing_new')").await, 2);
    assert_eq!(world.notify("pay", &pay(&payment, 455, &[])).await, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Succeeded);
}
