use std::collections::HashSet;

use billing_api::proto::CreatePaymentRequest;
use futures_util::future::join_all;
use tonic::Code;

use crate::refused::{fact, refusal, refused};
use crate::worker::declined;
use crate::world::{FRONTEND, World, by};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_calls_at_once_with_one_key_make_one_payment() {
    let world = World::on_real_servers(|_| {}).await;
    let order = world.order().await;
    let calls = (0..20).map(|_| {
        let (mut client, order) = (world.payments(), order.clone());
        async move { client.create_payment(by(FRONTEND, order)).await.expect("all are answered") }
    });
    let answers = join_all(calls).await;
    let first = answers.iter().filter(|answer| answer.metadata().get("idempotent-replayed").is_none());
    assert_eq!(first.count(), 1, "one call made it, the others were told");
    let ids: HashSet<_> = answers.into_iter().map(|answer| answer.into_inner().payment_id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(world.rows().await, (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_calls_at_once_with_twenty_keys_make_one_payment() {
    let world = World::start().await;
    let order = world.order().await;
    let calls = (0..20).map(|n| {
        let mut client = world.payments();
        let order = CreatePaymentRequest { idempotency_key: format!("key-{n}"), ..order.clone() };
        async move { client.create_payment(by(FRONTEND, order)).await }
    });
    let (made, others): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    let [Ok(made)] = &made[..] else { panic!("{} payments", made.len()) };
    for status in others.into_iter().filter_map(Result::err) {
        assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "PAYMENT_IN_PROGRESS", &["account_id"]));
        assert_eq!(fact(&status, "payment_id").as_ref(), Some(&made.get_ref().payment_id));
    }
    assert_eq!(world.rows().await, (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_good_for_one_content_only() {
    let world = World::start().await;
    let order = world.order().await;
    let other_account = world.account().await;
    let tariffs = world.tariffs().list_tariffs(by(FRONTEND, Default::default())).await.expect("listed").into_inner();
    world.payments().create_payment(by(FRONTEND, order.clone())).await.expect("created");
    let before = world.rows().await;

    let changes: [(&str, CreatePaymentRequest); 4] = [
        ("account", CreatePaymentRequest { account_id: other_account, ..order.clone() }),
        ("tariff", CreatePaymentRequest { tariff_id: tariffs.tariffs[1].tariff_id.clone(), ..order.clone() }),
        ("cryptogram", CreatePaymentRequest { card_cryptogram_packet: "01otherCryptogram".into(), ..order.clone() }),
        ("address", CreatePaymentRequest { ip_address: "203.0.113.8".into(), ..order.clone() }),
    ];
    for (what, changed) in changes {
        let status = world.payments().create_payment(by(FRONTEND, changed)).await.expect_err(what);
        assert_eq!(
            refusal(&status),
            refused(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED", &["idempotency_key"]),
            "other {what}"
        );
    }
    assert_eq!(world.rows().await, before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_answers_its_payment_also_when_that_has_ended() {
    let world = World::start().await;
    let order = world.order().await;
    let made = world.payments().create_payment(by(FRONTEND, order.clone())).await.expect("created").into_inner();
    world.charged(&made.payment_id, declined()).await;

    let answer = world.payments().create_payment(by(FRONTEND, order)).await.expect("the same payment");
    assert_eq!(answer.metadata().get("idempotent-replayed").expect("a header"), "true");
    let again = answer.into_inner();
    assert_eq!(again.payment_id, made.payment_id);
    assert_eq!(again.status(), billing_api::proto::PaymentStatus::Declined);
    assert_eq!(world.rows().await, (1, 1, 1));
}
