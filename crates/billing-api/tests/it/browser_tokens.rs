//! Which tokens of browsers are good.

use std::time::Duration;

use billing::clock;
use billing_api::bind;
use billing_api::proto::ListTariffsRequest;
use serde_json::{Value, json};
use testkit::eventually;
use tonic::Code;
use uuid::Uuid;

use crate::auth_service::{KeyServer, Signer, claims, key_set};
use crate::browsers::{trust, world_of};
use crate::refused::{Refusal, refusal, refused};
use crate::world::{SOON, World, by, config};

/// So seldom that no test waits for it.
const NEVER: Duration = Duration::from_secs(3600);

/// What comes of a token.
async fn shown(world: &World, token: &str) -> Result<(), Refusal> {
    let listed = world.tariffs().list_tariffs(by(token, ListTariffsRequest {})).await;
    listed.map(drop).map_err(|status| refusal(&status))
}

fn unauthenticated(reason: &str) -> Result<(), Refusal> {
    Err(refused(Code::Unauthenticated, reason, &[]))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_three_algorithms_are_taken_each_by_its_own_key() {
    let signers = [Signer::ed("ed"), Signer::ec("ec"), Signer::rsa("rsa")];
    let keys = key_set(&signers.iter().collect::<Vec<_>>());
    let world = World::with(|config| trust(config, &keys)).await;
    let account_id = Uuid::new_v4().to_string();
    for signer in &signers {
        assert_eq!(shown(&world, &signer.token(&account_id)).await, Ok(()), "{}", signer.algorithm());
        for other in &signers {
            let mut header = signer.header();
            header["alg"] = other.algorithm().into();
            if other.algorithm() != signer.algorithm() {
                let token = signer.sign(&header, &claims(&account_id));
                assert_eq!(shown(&world, &token).await, unauthenticated("TOKEN_UNKNOWN"), "{header}");
                // The key of one, the signature of the other.
                let token = other.sign(&signer.header(), &claims(&account_id));
                assert_eq!(shown(&world, &token).await, unauthenticated("TOKEN_UNKNOWN"), "{header}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lacks_anything_is_refused() {
    let signer = Signer::ed("ed");
    let world = world_of(&signer, |_| {}).await;
    let good = || claims(&Uuid::new_v4().to_string());
    let now = clock::now().timestamp();
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        claims
    };
    for (claims, expected) in [
        (good(), Ok(())),
        (with("exp", (now - 20).into()), Ok(())),
        (with("nbf", (now + 20).into()), Ok(())),
        (with("aud", json!(["shop", "billing"])), Ok(())),
        (with("exp", (now - 40).into()), unauthenticated("TOKEN_EXPIRED")),
        (with("exp", (now + 25 * 3600).into()), unauthenticated("TOKEN_UNKNOWN")),
        (with("exp", Value::Null), unauthenticated("TOKEN_UNKNOWN")),
        (with("exp", "tomorrow".into()), unauthenticated("TOKEN_UNKNOWN")),
        (with("nbf", (now + 60).into()), unauthenticated("TOKEN_UNKNOWN")),
        (with("aud", "shop".into()), unauthenticated("TOKEN_UNKNOWN")),
        (with("aud", Value::Null), unauthenticated("TOKEN_UNKNOWN")),
        (with("iss", "https://evil.example".into()), unauthenticated("TOKEN_UNKNOWN")),
        (with("iss", Value::Null), unauthenticated("TOKEN_UNKNOWN")),
        (with("sub", "somebody".into()), unauthenticated("TOKEN_UNKNOWN")),
        (with("sub", Value::Null), unauthenticated("TOKEN_UNKNOWN")),
        (with("sub", Uuid::nil().to_string().into()), unauthenticated("TOKEN_UNKNOWN")),
    ] {
        assert_eq!(shown(&world, &signer.sign(&signer.header(), &claims)).await, expected, "{claims}");
    }
    let mut nameless = signer.header();
    nameless.as_object_mut().expect("an object").remove("kid");
    let token = signer.token(&Uuid::new_v4().to_string());
    let (message, _) = token.rsplit_once('.').expect("a signature");
    let unsigned = {
        let mut header = signer.header();
        header["alg"] = "none".into();
        let token = signer.sign(&header, &good());
        format!("{}.", token.rsplit_once('.').expect("a signature").0)
    };
    let by_secret = {
        let mut header = signer.header();
        header["alg"] = "HS256".into();
        signer.sign(&header, &good())
    };
    for bad in [
        signer.sign(&nameless, &good()),
        Signer::ed("ed").token(&Uuid::new_v4().to_string()),
        format!("{message}."),
        format!("{token}.more"),
        message.to_owned(),
        unsigned,
        by_secret,
        "a".repeat(5_000),
        "..".to_owned(),
    ] {
        assert_eq!(shown(&world, &bad).await, unauthenticated("TOKEN_UNKNOWN"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_new_is_fetched_and_one_that_is_withdrawn_forgotten() {
    let (old, new) = (Signer::ed("old"), Signer::ec("new"));
    let server = KeyServer::start(Some(key_set(&[&old]))).await;
    let world = World::with(|config| {
        trust(config, &server.url);
        config.browsers.jwks_refresh = NEVER;
        config.browsers.jwks_pause = Duration::from_millis(1);
    })
    .await;
    let account_id = Uuid::new_v4().to_string();
    assert_eq!(shown(&world, &old.token(&account_id)).await, Ok(()));
    server.publish(Some(key_set(&[&new])));
    assert_eq!(shown(&world, &old.token(&account_id)).await, Ok(()), "nothing made it look again");
    assert_eq!(shown(&world, &new.token(&account_id)).await, Ok(()));
    assert_eq!(shown(&world, &old.token(&account_id)).await, unauthenticated("TOKEN_UNKNOWN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_again_by_the_clock() {
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let server = KeyServer::start(Some(key_set(&[&old]))).await;
    let world = World::with(|config| {
        trust(config, &server.url);
        config.browsers.jwks_refresh = Duration::from_millis(50);
        config.browsers.jwks_pause = NEVER;
    })
    .await;
    let account_id = Uuid::new_v4().to_string();
    eventually(SOON, async || shown(&world, &old.token(&account_id)).await).await;
    server.publish(Some(key_set(&[&new])));
    eventually(SOON, async || shown(&world, &new.token(&account_id)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_auth_service_known_keys_go_on_and_unknown_ones_are_refused() {
    let (known, unknown) = (Signer::ed("known"), Signer::ed("unknown"));
    let server = KeyServer::start(Some(key_set(&[&known]))).await;
    let world = World::with(|config| {
        trust(config, &server.url);
        config.browsers.jwks_refresh = Duration::from_millis(50);
        config.browsers.jwks_pause = Duration::from_millis(1);
    })
    .await;
    let account_id = Uuid::new_v4().to_string();
    eventually(SOON, async || shown(&world, &known.token(&account_id)).await).await;
    for down in [None, Some("<html>".to_owned()), Some("{\"keys\":[]}".to_owned()), Some(" ".repeat(300 * 1024))] {
        let before = server.asked();
        server.publish(down);
        eventually(SOON, async || server.asked() > before + 1).await;
        assert_eq!(shown(&world, &known.token(&account_id)).await, Ok(()));
        assert_eq!(shown(&world, &unknown.token(&account_id)).await, unauthenticated("TOKEN_UNKNOWN"));
    }
    assert_eq!(shown(&world, crate::world::FRONTEND).await, Ok(()), "services are served as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_invents_keys_does_not_make_us_ask_for_each() {
    let signer = Signer::ed("ed");
    let server = KeyServer::start(Some(key_set(&[&signer]))).await;
    let world = World::with(|config| {
        trust(config, &server.url);
        config.browsers.jwks_refresh = NEVER;
        config.browsers.jwks_pause = NEVER;
    })
    .await;
    let account_id = Uuid::new_v4().to_string();
    for n in 0..20 {
        let invented = Signer::ed(&format!("invented-{n}")).token(&account_id);
        assert_eq!(shown(&world, &invented).await, unauthenticated("TOKEN_UNKNOWN"));
    }
    assert!(server.asked() <= 2, "once at the start, once for all of them: {}", server.asked());
    assert_eq!(shown(&world, &signer.token(&account_id)).await, Ok(()));
}

#[tokio::test]
async fn wrong_settings_are_told_with_their_name() {
    let keys = key_set(&[&Signer::ed("ed")]);
    for (jwks, issuer, audience, variable) in [
        ("/no/such/file", Some("i"), Some("a"), "API_JWKS"),
        ("{}", Some("i"), Some("a"), "API_JWKS"),
        ("http://auth.example/jwks.json", Some("i"), Some("a"), "API_JWKS"),
        (&*keys, None, Some("a"), "API_JWT_ISSUER"),
        (&*keys, Some("i"), Some(""), "API_JWT_AUDIENCE"),
    ] {
        let mut config = config();
        config.browsers.jwks = Some(jwks.to_owned());
        config.browsers.jwt_issuer = issuer.map(str::to_owned);
        config.browsers.jwt_audience = audience.map(str::to_owned);
        let Err(error) = bind(config).await else { panic!("{jwks} {issuer:?} {audience:?}") };
        assert!(error.to_string().starts_with(&format!("{variable}: ")), "{error}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("jwks.json");
    std::fs::write(&file, keys).expect("written");
    let mut config = config();
    trust(&mut config, file.to_str().expect("a path"));
    assert!(bind(config).await.is_ok(), "a file is as good");
}
