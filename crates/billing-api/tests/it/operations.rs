//! What operators rely on: ports, health, reflection, request ids.

use std::time::Duration;

use billing_api::proto::ListTariffsRequest;
use billing_api::{Config, StartError, bind};
use futures_util::stream;
use testkit::eventually;
use tokio::net::TcpListener;
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::world::{FRONTEND, SOON, World, by, config};

#[tokio::test(flavor = "multi_thread")]
async fn health_answers_for_the_server_and_each_service_without_a_token() {
    let world = World::start().await;
    let client = HealthClient::new(world.channel());
    for service in ["", "billing.v1.Tariffs", "billing.v1.Payments", "billing.v1.Access", "billing.v1.Events"] {
        eventually(SOON, || {
            let (mut client, request) = (client.clone(), HealthCheckRequest { service: service.into() });
            async move { client.check(request).await.expect("an answer").into_inner().status() == ServingStatus::Serving }
        })
        .await;
    }
    let unknown = HealthCheckRequest { service: "billing.v1.Receipts".into() };
    assert_eq!(client.clone().check(unknown).await.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_the_health_is_told_of_the_shutdown() {
    let mut world = World::start().await;
    let mut client = HealthClient::new(world.channel());
    let mut watched = client.watch(HealthCheckRequest::default()).await.expect("a stream").into_inner();
    let mut seen = Vec::new();
    while seen.last() != Some(&ServingStatus::Serving) {
        seen.push(watched.message().await.expect("no error").expect("no end").status());
    }
    tokio::time::timeout(Duration::from_secs(2), world.stop()).await.expect("no stream holds it up").expect("no error");
    assert_eq!(watched.message().await.expect("no error").expect("no end").status(), ServingStatus::NotServing);
    assert_eq!(watched.message().await.expect("no error"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services_without_a_token() {
    let world = World::start().await;
    let mut client = ServerReflectionClient::new(world.channel());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = client.server_reflection_info(stream::iter([request])).await.expect("a stream").into_inner();
    let answer = answers.message().await.expect("no error").expect("an answer").message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["billing.v1.Tariffs", "billing.v1.Payments", "billing.v1.Access", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == service), "{service} is not among {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_response_has_a_request_id_and_a_decent_one_of_the_caller_is_kept() {
    let world = World::start().await;
    let mut client = world.tariffs();
    let made = client.list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect("listed");
    assert_eq!(made.metadata().get("x-request-id").map(MetadataValue::len), Some(36));

    for (given, kept) in
        [("order-17:a.b_c", true), (&*"a".repeat(64), true), ("two words", false), (&*"a".repeat(65), false)]
    {
        let mut request = by("wrong-token", ListTariffsRequest {});
        request.metadata_mut().insert("x-request-id", given.parse().expect("ASCII"));
        let status = client.list_tariffs(request).await.expect_err("refused");
        let told = status.metadata().get("x-request-id").expect("an id");
        assert_eq!(told == given, kept, "{given}");
    }
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_name_of_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut config = config();
    config.listen = taken.local_addr().expect("an address");
    let error = bind(config.clone()).await.err().expect("taken");
    assert!(matches!(&error, StartError::Listen { address, .. } if *address == config.listen), "{error:?}");
    assert!(error.to_string().contains("API_LISTEN"), "{error}");
    assert!(error.to_string().contains(&config.listen.to_string()), "{error}");
}

#[tokio::test]
async fn wrong_settings_are_told_with_their_names_before_anything_starts() {
    let (mut tokens, mut origins) = (config(), config());
    tokens.tokens = "frontend:secret-token:everything".into();
    origins.web_origins = vec!["cinema.example".into()];
    for (config, variable) in [(tokens, "API_TOKENS"), (origins, "API_WEB_ORIGINS")] {
        let error = bind(config).await.err().expect("wrong");
        assert!(matches!(error, StartError::Setting { variable: named, .. } if named == variable), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret-token"), "{error}");
    }
}

#[tokio::test]
async fn variables_that_are_set_to_nothing_are_not_set() {
    let nothing = Config {
        web_origins: vec![String::new()],
        tls_cert: Some("".into()),
        tls_key: Some("".into()),
        tls_client_ca: Some("".into()),
        ..config()
    };
    let bound = bind(nothing).await.expect("as without them");
    assert!(bound.url().starts_with("http://"), "{}", bound.url());
}
