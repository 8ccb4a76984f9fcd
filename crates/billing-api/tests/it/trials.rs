//! A tariff is tried, over the wire.

use billing::payment::{CardMask, Outcome};
use billing::{Currency, Kopecks};
use billing_api::proto::subscriptions_client::SubscriptionsClient;
use billing_api::proto::{
    CreatePaymentRequest, GetSubscriptionRequest, ListTariffsRequest, PaymentStatus, Subscription, Tariff, Trial,
};
use diesel_async::RunQueryDsl;
use tonic::Code;

use crate::refused::{fact, refusal, refused};
use crate::worker::TRANSACTION;
use crate::world::{FRONTEND, World, by};

/// The tariff that may be tried, of those on sale.
async fn tried(world: &World) -> Tariff {
    let listed = world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect("listed").into_inner();
    listed.tariffs.into_iter().find(|tariff| tariff.trial.is_some()).expect("a tariff with a trial")
}

async fn order(world: &World, tariff: &Tariff) -> CreatePaymentRequest {
    CreatePaymentRequest { tariff_id: tariff.tariff_id.clone(), trial: tariff.trial.clone(), ..world.order().await }
}

/// A rouble is held on this card.
fn held(transaction_id: i64, last_four: &str) -> Outcome {
    Outcome::Authorized {
        transaction_id,
        token: Some(format!("tk_{transaction_id}").into()),
        amount: Kopecks::new(100),
        currency: Currency::RUB,
        card: Some(CardMask {
            first_six: Some("400000".into()),
            last_four: Some(last_four.into()),
            expires: Some("12/39".into()),
            ..CardMask::default()
        }),
    }
}

async fn subscription(world: &World, account_id: &str) -> Subscription {
    let request = GetSubscriptionRequest { account_id: account_id.to_owned() };
    let mut client = SubscriptionsClient::new(world.channel());
    client.get_subscription(by(FRONTEND, request)).await.expect("known").into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_begins_when_the_card_is_good_and_says_what_will_be_charged() {
    let world = World::start().await;
    let tariff = tried(&world).await;
    assert_eq!(tariff.trial, Some(Trial { days: 7, amount_kopecks: 0, currency: "RUB".to_owned() }));
    let order = order(&world, &tariff).await;
    let begun = world.payments().create_payment(by(FRONTEND, order.clone())).await.expect("created").into_inner();
    assert_eq!((begun.status(), begun.amount_kopecks), (PaymentStatus::Created, 100));
    assert!(begun.verifies_card && begun.is_trial);
    let mut watch = world.watch(&begun.payment_id).await;
    watch.message().await.expect("open").expect("as it is");
    world.charged(&begun.payment_id, held(TRANSACTION, "3055")).await;
    world.tell_charged(&begun.payment_id).await;
    let told = watch.message().await.expect("open").expect("good");
    assert_eq!((told.status(), told.renews), (PaymentStatus::Succeeded, true));
    assert!(!told.access_expires_on.is_empty(), "it gives access: {told:?}");
    assert_eq!(watch.message().await.expect("closed well"), None, "that is the end of it");

    let running = subscription(&world, &order.account_id).await;
    assert!(running.is_trial && running.trial_used && running.access.as_ref().is_some_and(|access| access.has_access));
    let next = running.next_charge.expect("the first full charge");
    assert_eq!(next.amount_kopecks, tariff.amount_kopecks);
    assert!(running.why.expect("why").en.starts_with("It is a trial until "));
    assert!(running.next.expect("what comes next").ru.contains("полная цена"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_has_had_its_trial_is_a_status_of_its_own() {
    let world = World::start().await;
    let tariff = tried(&world).await;
    let mut told = Vec::new();
    for n in 0..2 {
        let order = order(&world, &tariff).await;
        let payment = world.payments().create_payment(by(FRONTEND, order)).await.expect("created").into_inner();
        world.charged(&payment.payment_id, held(TRANSACTION + n, "3055")).await;
        let mut watch = world.watch(&payment.payment_id).await;
        told.push(watch.message().await.expect("open").expect("its end"));
        assert_eq!(watch.message().await.expect("closed well"), None, "it is final");
    }
    assert_eq!((told[0].status(), &*told[0].trial_refused), (PaymentStatus::Succeeded, ""));
    assert_eq!((told[1].status(), &*told[1].trial_refused), (PaymentStatus::TrialRefused, "used"));
    assert_eq!((&*told[1].access_expires_on, told[1].renews), ("", false));
    assert!(!subscription(&world, &told[1].account_id).await.trial_used, "another card may be tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_tried_has_its_reason() {
    let world = World::start().await;
    let tariff = tried(&world).await;
    let sound = order(&world, &tariff).await;
    let refuse = async |order: CreatePaymentRequest| {
        world.payments().create_payment(by(FRONTEND, order)).await.expect_err("refused")
    };
    let shown =
        |days, amount_kopecks, currency: &str| Some(Trial { days, amount_kopecks, currency: currency.to_owned() });

    let changed = refuse(CreatePaymentRequest { trial: shown(14, 0, "RUB"), ..sound.clone() }).await;
    assert_eq!(refusal(&changed), refused(Code::FailedPrecondition, "TRIAL_CHANGED", &["trial"]));
    assert_eq!(fact(&changed, "days").as_deref(), Some("7"));
    assert_eq!(fact(&changed, "amount_kopecks").as_deref(), Some("0"));
    let listed = world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect("listed").into_inner();
    let none = listed.tariffs.into_iter().find(|tariff| tariff.trial.is_none()).expect("one without");
    let none = refuse(CreatePaymentRequest { tariff_id: none.tariff_id, ..sound.clone() }).await;
    assert_eq!(refusal(&none), refused(Code::FailedPrecondition, "NO_TRIAL", &["tariff_id"]));
    let wrong = refuse(CreatePaymentRequest { trial: shown(0, -1, "roubles"), ..sound.clone() }).await;
    let fields = ["trial.days", "trial.amount_kopecks", "trial.currency"];
    assert_eq!(refusal(&wrong), refused(Code::InvalidArgument, "INVALID_FIELDS", &fields));

    let first = world.payments().create_payment(by(FRONTEND, sound.clone())).await.expect("created").into_inner();
    world.charged(&first.payment_id, held(TRANSACTION, "3055")).await;
    let key = |key: &str| CreatePaymentRequest { idempotency_key: key.to_owned(), ..sound.clone() };
    let running = refuse(key("again")).await;
    assert_eq!(refusal(&running), refused(Code::FailedPrecondition, "ALREADY_ACTIVE", &["account_id"]));
    let sql = "update account set status = 'Canceled', next_charge_at = null, access_until = now(), paid_until = now()";
    let mut conn = world.services.db.conn().await.expect("the database answers");
    diesel::sql_query(sql).execute(&mut conn).await.expect("over");
    drop(conn);
    let used = refuse(key("afterwards")).await;
    assert_eq!(refusal(&used), refused(Code::FailedPrecondition, "TRIAL_USED", &["account_id"]));
}
