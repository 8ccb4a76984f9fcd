//! Notifications that had no effect when they came, because the process that took them died, have it by the timetable.

use billing::notification::{Ids, Notice, NoticeKind};
use billing::payment::PaymentState;
use billing::store::notifications::{self, NoticeKey, Received};
use billing::store::payments::PaymentView;
use billing::tasks::SettleNotifications;
use serde_json::json;

use crate::world::{MONTH, PAYS, World};

impl World {
    /// It is in the inbox, and nothing has come of it.
    async fn is_received(&self, payment: &PaymentView, transaction_id: i64, account_id: &str, digest: u8) {
        let notice = Notice {
            transaction_id: Some(transaction_id),
            invoice_id: Some(payment.invoice_no.to_string()),
            account_id: Some(account_id.to_owned()),
            ids: Some(Ids { payment_id: Some(payment.id.to_string()), ..Ids::default() }),
            amount: Some(payment.amount.get()),
            currency: Some(payment.currency.to_string()),
            test_mode: Some(true),
            status: Some("Completed".into()),
            ..Notice::default()
        };
        let gateway_id = transaction_id.to_string();
        let key = NoticeKey { kind: NoticeKind::Pay, gateway_id, body_sha256: [digest; 32] };
        let received = Received { key, notice, token: Some("tk_of_the_notification".into()) };
        let services = &self.services;
        let mut conn = services.db.conn().await.unwrap();
        notifications::receive(&mut conn, &received, &services.cipher, services.db.now()).await.unwrap();
        drop(conn);
        self.sql("update notification set try_at = now() - interval '1 second' where effect is null").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_without_an_effect_has_it_once_and_what_fits_nothing_keeps_no_other_from_it() {
    // Nobody looks at the gateway meanwhile.
    let world = World::with(&["--resolve-first-look", "10m", "--resolve-look-only", "20m"]).await;
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Unknown).await;
    let taken = world.ledger(payment.invoice_no).await[0]["id"].as_i64().expect("the gateway's number");
    world.is_received(&payment, 1, "somebody else", 1).await;
    world.is_received(&payment, taken, &payment.account_id.to_string(), 2).await;

    assert_eq!(world.tick(SettleNotifications {}).await, json!(2));
    let paid = world.payment(payment.id).await;
    assert_eq!((paid.state, paid.transaction_id), (PaymentState::Succeeded, Some(taken)));
    assert!(world.has_access(payment.account_id).await);
    assert_eq!(world.count("notification where effect = 'orphan'").await, 1);
    assert_eq!(
        world.count("notification where effect = 'applied' and token is null").await,
        1,
        "its token is kept no more"
    );
    assert_eq!(world.tick(SettleNotifications {}).await, json!(0));
    assert_eq!(world.count("journal_entry where kind = 'payment'").await, 1);
}
