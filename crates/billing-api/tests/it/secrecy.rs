//! What must never be logged.

use std::io;
use std::sync::{Arc, Mutex};

use billing_api::proto::{CreatePaymentRequest, SubmitThreeDsRequest};
use tracing_subscriber::EnvFilter;

use crate::worker::{TRANSACTION, three_ds_required};
use crate::world::{FRONTEND, World, by};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn card_data_and_tokens_are_not_logged_at_any_level() {
    let log = Log::default();
    let writer = log.clone();
    // The only test of this binary that looks at the log, so it may be the one that has it.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info,billing_api=trace,billing=trace,celeriac=trace"))
        .with_writer(move || writer.clone())
        .init();

    let world = World::start().await;
    let order = CreatePaymentRequest { card_cryptogram_packet: "01ZZcryptogramZZ".into(), ..world.order().await };
    let payment = world.payments().create_payment(by(FRONTEND, order.clone())).await.expect("created").into_inner();
    let other = CreatePaymentRequest { ip_address: "203.0.113.9".into(), ..order };
    world.payments().create_payment(by(FRONTEND, other)).await.expect_err("other content");
    let broken = CreatePaymentRequest { card_cryptogram_packet: "01ZZcryptogramZZ".into(), ..Default::default() };
    world.payments().create_payment(by(FRONTEND, broken)).await.expect_err("wrong fields");
    world.charged(&payment.payment_id, three_ds_required()).await;
    let md = TRANSACTION.to_string();
    let answer = SubmitThreeDsRequest { payment_id: payment.payment_id.clone(), md, pa_res: "ZZpaResZZ".into() };
    world.payments().submit_three_ds(by(FRONTEND, answer)).await.expect("taken");
    world.payments().get_payment(by("ZZtokenZZ", Default::default())).await.expect_err("unknown token");

    let log = log.text();
    assert!(log.contains("payment created") && log.contains(&payment.payment_id), "the log is being watched:\n{log}");
    assert!(log.contains("3-D Secure answered"), "{log}");
    for secret in ["ZZcryptogramZZ", "ZZpaResZZ", "ZZtokenZZ", FRONTEND, "tk_secret-token", "eJxVUdtu"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}
