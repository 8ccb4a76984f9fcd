//! Who is not the gateway gets nowhere, however many they are.

use billing::payment::PaymentState;

use super::gateway::{Reply, http_client, pay, sign_with};
use crate::world::World;

/// A flood of forged ones, with genuine ones among them.
#[tokio::test(flavor = "multi_thread")]
async fn forged_notifications_have_no_effect_and_keep_no_genuine_one_out() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let (client, url) = (http_client(), world.notification_url("pay"));
    let forged = (0..400).map(|n| {
        let body = format!("{}&Padding={}", pay(&payment, n, &[]), "a".repeat(4_000));
        let signature = sign_with("sk_guessed", body.as_bytes());
        let request = client.post(&url).header("Content-HMAC", signature).body(body);
        async move { request.send().await.map(|response| response.status().as_u16()) }
    });
    let flood = futures_util::future::join_all(forged);
    let form = pay(&payment, 455, &[]);
    let genuine = world.notify("pay", &form);
    let (replies, genuine) = tokio::join!(flood, genuine);
    assert_eq!(genuine, Reply::accepted());
    let others: Vec<_> = replies.into_iter().flatten().filter(|status| *status != 401).collect();
    assert!(others.is_empty(), "{others:?}");
    let view = world.view(&payment.id.to_string()).await;
    assert_eq!((view.state, view.transaction_id), (PaymentState::Succeeded, Some(455)));
    assert_eq!(world.count("notification").await, 1);
    assert_eq!(world.count("orphan").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_of_another_network_is_refused_unread() {
    let world = World::notified_with(|config| config.from = vec!["185.98.81.0/28".parse().unwrap()]).await;
    let payment = world.sending().await;
    assert_eq!(world.notify("pay", &pay(&payment, 1, &[])).await.status, 403);
    // Nobody's word on where they come from is taken, but that of our own proxies.
    let form = pay(&payment, 1, &[]);
    let forwarded = [("X-Forwarded-For", "185.98.81.3"), ("Content-HMAC", &super::gateway::sign(form.as_bytes()))];
    assert_eq!(world.post("pay", form.clone(), &forwarded).await.status, 403);

    let behind = World::notified_with(|config| {
        config.from = vec!["185.98.81.0/28".parse().unwrap()];
        config.proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let payment = behind.sending().await;
    let form = pay(&payment, 1, &[]);
    let forwarded = [("X-Forwarded-For", "185.98.81.3"), ("Content-HMAC", &super::gateway::sign(form.as_bytes()))];
    assert_eq!(behind.post("pay", form.clone(), &forwarded).await, Reply::accepted());
}
