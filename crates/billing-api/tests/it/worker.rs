//! What a worker does to a payment, without a gateway.

use billing::payment::Outcome;
use billing::store::payments::{self, Applied, Begin, Begin3ds};
use billing::tasks::{ChargePayment, CompleteThreeDs};
use billing::{Currency, Kopecks, PaymentId, clock};
use celeriac::backend::StoredResult;
use chrono::TimeDelta;
use serde_json::json;

use crate::world::World;

impl World {
    /// Sends the payment, and writes down this outcome. Nobody is told.
    pub(crate) async fn charged(&self, payment_id: &str, outcome: Outcome) -> Applied {
        let id = parse(payment_id);
        let mut conn = self.services.db.conn().await.expect("the database answers");
        let begun = payments::begin_sending(&mut conn, id, &self.services.cipher, clock::now()).await.expect("begun");
        assert!(matches!(begun, Begin::Send(_)), "{begun:?}");
        payments::apply(&mut conn, id, outcome, &self.services.cipher, clock::now()).await.expect("applied")
    }

    /// Passes the 3-D Secure answer on, and writes down this outcome. Nobody is told.
    pub(crate) async fn posted(&self, payment_id: &str, outcome: Outcome) -> Applied {
        let id = parse(payment_id);
        let mut conn = self.services.db.conn().await.expect("the database answers");
        let begun = payments::begin_posting(&mut conn, id, &self.services.cipher, clock::now()).await.expect("begun");
        assert!(matches!(begun, Begin3ds::Post(_)), "{begun:?}");
        payments::apply(&mut conn, id, outcome, &self.services.cipher, clock::now()).await.expect("applied")
    }

    /// Stores the result of the charge, as a worker does at the end of the task.
    pub(crate) async fn tell_charged(&self, payment_id: &str) {
        self.tell(ChargePayment::task_id(parse(payment_id)), payment_id).await;
    }

    pub(crate) async fn tell_posted(&self, payment_id: &str) {
        self.tell(CompleteThreeDs::task_id(parse(payment_id)), payment_id).await;
    }

    async fn tell(&self, task_id: String, payment_id: &str) {
        let result = json!({ "payment_id": payment_id, "status": "whatever" });
        let meta = json!({ "task_id": task_id, "status": "SUCCESS", "result": result, "traceback": null,
            "children": [], "date_done": "2030-01-01T00:00:00+00:00" });
        let stored = StoredResult { task_id, meta: meta.to_string(), is_final: true };
        self.services.app.backend().store(&[stored]).await.expect("stored");
    }
}

pub(crate) const TRANSACTION: i64 = 504_504;

pub(crate) fn completed(kopecks: i64) -> Outcome {
    Outcome::Completed {
        transaction_id: TRANSACTION,
        token: Some("tk_secret-token".into()),
        amount: Kopecks::new(kopecks),
        currency: Currency::RUB,
        card: None,
    }
}

pub(crate) fn three_ds_required() -> Outcome {
    Outcome::ThreeDsRequired {
        transaction_id: TRANSACTION,
        acs_url: "https://bank.example/acs".into(),
        pa_req: "eJxVUdtu".into(),
        expires_at: clock::now() + TimeDelta::minutes(30),
    }
}

pub(crate) fn declined() -> Outcome {
    Outcome::Declined {
        transaction_id: Some(TRANSACTION),
        code: 5051,
        reason: "InsufficientFunds".into(),
        cardholder_message: "Недостаточно средств на карте".into(),
        retry_after: None,
    }
}

pub(crate) fn parse(payment_id: &str) -> PaymentId {
    payment_id.parse().expect("a payment id")
}
