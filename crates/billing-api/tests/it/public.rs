//! What is answered without a token, by the limits that everything else has.

use std::time::Duration;

use futures_util::stream;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use crate::refused::{refusal, refused};
use crate::world::{SOON, World};

/// Much more than a message may have.
const HUGE: usize = 4 * 1024 * 1024;

fn huge() -> HealthCheckRequest {
    HealthCheckRequest { service: "x".repeat(HUGE) }
}

/// What reflection v1 says to one question.
async fn reflect(world: &World, question: v1::server_reflection_request::MessageRequest) -> Result<Answer, Status> {
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(world.channel());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut answers = client.server_reflection_info(stream::iter([request])).await?.into_inner();
    let answer = answers.message().await?.and_then(|answer| answer.message_response);
    answer.ok_or_else(|| Status::unknown("no answer"))
}

type Answer = v1::server_reflection_response::MessageResponse;

#[tokio::test(flavor = "multi_thread")]
async fn messages_above_64_kib_are_refused_by_health_and_reflection_too() {
    let world = World::start().await;
    let mut health = HealthClient::new(world.channel());
    let check = health.check(huge()).await.expect_err("too long");
    assert_eq!(check.code(), Code::OutOfRange, "{check:?}");
    let watch = health.watch(huge()).await.expect_err("too long");
    assert_eq!(watch.code(), Code::OutOfRange, "{watch:?}");

    // Reflection ends its stream without an answer.
    let question = v1::server_reflection_request::MessageRequest::FileContainingSymbol("x".repeat(HUGE));
    reflect(&world, question).await.expect_err("too long");
    let mut old = v1alpha::server_reflection_client::ServerReflectionClient::new(world.channel());
    let request = v1alpha::ServerReflectionRequest { host: "x".repeat(HUGE), message_request: None };
    let answers = old.server_reflection_info(stream::iter([request])).await;
    let answer = match answers {
        Ok(answers) => answers.into_inner().message().await,
        Err(status) => Err(status),
    };
    assert!(!matches!(answer, Ok(Some(_))), "{answer:?}");

    let small = HealthCheckRequest::default();
    health.check(small).await.expect("others are answered, on the same connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_has_few_requests_without_a_token_at_a_time_and_others_are_answered() {
    let world = World::start().await;
    let health = HealthClient::new(world.channel());
    let (mut open, mut turned_away) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        match health.clone().watch(HealthCheckRequest::default()).await {
            Ok(stream) => open.push(stream.into_inner()),
            Err(status) => turned_away.push(status),
        }
    }
    assert_eq!(open.len(), 4);
    for status in turned_away {
        assert_eq!(refusal(&status), refused(Code::ResourceExhausted, "OVERLOADED", &[]));
    }
    HealthClient::new(world.channel()).check(HealthCheckRequest::default()).await.expect("another connection");

    drop(open);
    testkit::eventually(SOON, async || health.clone().watch(HealthCheckRequest::default()).await.map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_a_token_has_to_come_in_time() {
    let world = World::with(|config| config.message_timeout = Duration::from_millis(300)).await;
    let status = world.never_says("/grpc.health.v1.Health/Check", None).await;
    assert_eq!(refusal(&status), refused(Code::DeadlineExceeded, "MESSAGE_LATE", &[]));
    let status = world.never_says("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", None).await;
    assert_ne!(status.code(), Code::Cancelled, "the stream is ended by the server: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_watch_a_service_that_is_not_here_says_so_and_stays_open() {
    let mut world = World::start().await;
    let mut client = HealthClient::new(world.channel());
    let unknown = HealthCheckRequest { service: "billing.v1.Receipts".into() };
    let mut watched = client.watch(unknown).await.expect("no error").into_inner();
    let told = watched.message().await.expect("no error").expect("no end");
    assert_eq!(told.status(), ServingStatus::ServiceUnknown);
    // The server itself has become ready meanwhile, which is no news about that service.
    testkit::eventually(SOON, async || {
        let answer = client.clone().check(HealthCheckRequest::default()).await.expect("an answer");
        answer.into_inner().status() == ServingStatus::Serving
    })
    .await;
    let mut next = tokio::spawn(async move { watched.message().await });
    tokio::time::timeout(Duration::from_millis(200), &mut next).await.expect_err("it stays open");
    world.stop().await.expect("no error");
    assert_eq!(next.await.expect("no panic").expect("no error"), None, "it ends with the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_knows_what_the_details_of_errors_are_made_of() {
    let world = World::start().await;
    for name in ["ErrorInfo", "BadRequest", "ResourceInfo", "RetryInfo", "Status"] {
        let symbol = format!("google.rpc.{name}");
        let question = v1::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.clone());
        let answer = reflect(&world, question).await.expect("an answer");
        let v1::server_reflection_response::MessageResponse::FileDescriptorResponse(files) = answer else {
            panic!("{symbol}: {answer:?}")
        };
        assert!(!files.file_descriptor_proto.is_empty(), "{symbol}");
    }
    // They import this one.
    let any = v1::server_reflection_request::MessageRequest::FileByFilename("google/protobuf/any.proto".into());
    let answer = reflect(&world, any).await.expect("an answer");
    assert!(matches!(answer, Answer::FileDescriptorResponse(_)), "{answer:?}");
}
