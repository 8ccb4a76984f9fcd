//! What is believed.

use super::gateway::{Reply, decoded, pay, sign, sign_with};
use crate::world::World;

/// C6: the bytes count, however they are escaped; what they say is read once.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_over_the_raw_bytes_is_believed_however_they_are_escaped() {
    let world = World::notified().await;
    let bodies = [
        "Name=%D0%98%D0%B2%D0%B0%D0%BD+%D0%9F&Description=a%2Bb%2Fc%3A&TransactionId=1&Amount=1.00",
        "Name=%D0%98%D0%B2%D0%B0%D0%BD%20%D0%9F&Description=a%2Bb%2Fc%3A&TransactionId=2&Amount=1.00",
        "Name=%d0%98%d0%b2%d0%b0%d0%bd+%d0%9f&Description=a%2bb%2fc%3a&TransactionId=3&Amount=1.00",
        "Description=%F0%9F%8E%AC&Token=tk%2B1+2&TransactionId=4&Amount=1.00",
        "Name=&Description=&TransactionId=5&Amount=1.00&Email=",
        "Amount=1.00&TransactionId=6&Amount=2.00",
    ];
    for body in bodies {
        let reply = world.post("pay", body, &[("Content-HMAC", &sign(body.as_bytes()))]).await;
        assert_eq!(reply, Reply::accepted(), "{body}");
        let again = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(url::form_urlencoded::parse(body.as_bytes()))
            .finish();
        let reply = world.post("pay", again.clone(), &[("Content-HMAC", &sign(body.as_bytes()))]).await;
        assert_eq!(reply.status, if again == body { 200 } else { 401 }, "{again}");
    }
    assert_eq!(world.count("notification").await, 6);
}

/// C7.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_as_it_came_is_refused_and_leaves_nothing() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let form = pay(&payment, 455, &[]);
    let (raw, text) = (sign(form.as_bytes()), sign(decoded(&form).as_bytes()));
    let wrong = sign_with("sk_other", form.as_bytes());
    let base64url = raw.to_lowercase().replace('+', "-").replace('/', "_");
    let cases: [(&str, &[(&str, &str)]); 7] = [
        ("neither header", &[]),
        ("both wrong", &[("Content-HMAC", &wrong), ("X-Content-HMAC", &wrong)]),
        ("the deciding one wrong", &[("Content-HMAC", &wrong), ("X-Content-HMAC", &text)]),
        ("in another spelling", &[("Content-HMAC", &base64url)]),
        ("no base64", &[("Content-HMAC", "?")]),
        ("empty", &[("Content-HMAC", "")]),
        ("over the text, in the place of that over the bytes", &[("Content-HMAC", &text)]),
    ];
    for (what, headers) in cases {
        assert_eq!(world.post("pay", form.clone(), headers).await.status, 401, "{what}");
    }
    for changed in 0..form.len().min(64) {
        let mut body = form.clone().into_bytes();
        body[changed] ^= 1;
        assert_eq!(world.post("pay", body, &[("Content-HMAC", &raw)]).await.status, 401, "byte {changed}");
    }
    assert_eq!(world.count("notification").await, 0);

    let trailing = format!("{raw} ");
    let others: [&[(&str, &str)]; 3] = [
        &[("X-Content-HMAC", &text)],
        &[("Content-HMAC", &raw), ("X-Content-HMAC", &wrong)],
        &[("Content-HMAC", &trailing)],
    ];
    for headers in others {
        assert_eq!(world.post("pay", form.clone(), headers).await, Reply::accepted(), "{headers:?}");
    }
    assert_eq!(world.count("notification").await, 1);
}

/// C37: the decoded text of this form is that of others too.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_split_anew_under_the_signature_of_its_text_is_refused() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let genuine = pay(&payment, 455, &[("Amount", "1.00"), ("Name", "Y&Amount=9.90")]);
    let signature = sign(decoded(&genuine).as_bytes());
    let forged = decoded(&genuine).replace("Amount=1.00&", "Issuer=Amount%3D1.00&");
    for form in [genuine.clone(), decoded(&genuine), forged] {
        let reply = world.post("pay", form.clone(), &[("X-Content-HMAC", &signature)]).await;
        assert_eq!(reply.status, 401, "{form}");
    }
    assert_eq!(world.count("notification").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn either_of_two_secrets_is_good_while_one_is_replaced() {
    let world = World::notified_with(|config| config.api_secrets = Some("sk_old, sk_new".into())).await;
    for (n, (secret, status)) in [("sk_old", 200), ("sk_new", 200), ("sk_notifications", 401)].into_iter().enumerate() {
        let body = format!("TransactionId={n}&Amount=1.00");
        let reply = world.post("pay", body.clone(), &[("Content-HMAC", &sign_with(secret, body.as_bytes()))]).await;
        assert_eq!(reply.status, status, "{secret}");
    }
}
