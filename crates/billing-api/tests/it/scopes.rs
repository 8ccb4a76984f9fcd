//! Who may call what.

use std::time::Duration;

use billing_api::LOCAL_TOKENS;
use billing_api::proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::refused::{Refusal, fact, refusal, refused};
use crate::world::{AUTH, FRONTEND, MAILER, PANEL, World, by};

/// Calls a method by its path with an empty message.
async fn call(world: &World, method: &str, token: Option<&str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(world.channel());
    client.ready().await.expect("a connection");
    let mut request = token.map_or_else(|| Request::new(()), |token| by(token, ()));
    // Some are streams without an end.
    request.set_timeout(Duration::from_secs(2));
    let path = method.parse().expect("a path");
    client.unary(request, path, ProstCodec::<(), ()>::default()).await.map(drop)
}

async fn refused_call(world: &World, method: &str, token: Option<&str>) -> Refusal {
    refusal(&call(world, method, token).await.expect_err(method))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_open_to_its_scope_only() {
    let tokens = format!("{LOCAL_TOKENS},old:expired-token:tariffs+payments+accounts+access:2020-12-31");
    let world = World::with(|config| config.tokens = tokens.into()).await;
    for (method, scope, holder, other) in [
        ("/billing.v1.Tariffs/ListTariffs", "tariffs", FRONTEND, AUTH),
        ("/billing.v1.Payments/CreatePayment", "payments", FRONTEND, AUTH),
        ("/billing.v1.Payments/GetPayment", "payments", FRONTEND, AUTH),
        ("/billing.v1.Payments/WatchPayment", "payments", FRONTEND, AUTH),
        ("/billing.v1.Payments/SubmitThreeDs", "payments", FRONTEND, AUTH),
        ("/billing.v1.Access/RegisterAccount", "accounts", AUTH, FRONTEND),
        ("/billing.v1.Access/CheckAccess", "access", AUTH, FRONTEND),
        ("/billing.v1.Access/BatchCheckAccess", "access", AUTH, FRONTEND),
        ("/billing.v1.Access/WatchAccess", "access", AUTH, FRONTEND),
        ("/billing.v1.Events/Watch", "events", MAILER, FRONTEND),
        ("/billing.v1.Subscriptions/GetSubscription", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/Cancel", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/Resume", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/ForgetCard", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/CloseAccount", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/ReplaceCard", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/ChangeTariff", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/PreviewChange", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/ListPayments", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/ListBills", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Subscriptions/GetBill", "subscriptions", FRONTEND, AUTH),
        ("/billing.v1.Reconciliation/Run", "staff", PANEL, FRONTEND),
        ("/billing.v1.Reconciliation/GetRun", "staff", PANEL, FRONTEND),
        ("/billing.v1.Reconciliation/ListDays", "staff", PANEL, FRONTEND),
        ("/billing.v1.Reconciliation/ListDifferences", "staff", PANEL, FRONTEND),
        ("/billing.v1.Reconciliation/ResolveDifference", "staff", PANEL, FRONTEND),
        ("/billing.v1.Refunds/RefundPayment", "staff", PANEL, FRONTEND),
        ("/billing.v1.Refunds/GetRefund", "staff", PANEL, FRONTEND),
        ("/billing.v1.Refunds/ListRefunds", "staff", PANEL, FRONTEND),
        ("/billing.v1.Refunds/ApproveRefund", "staff", PANEL, FRONTEND),
        ("/billing.v1.Refunds/WithdrawRefund", "staff", PANEL, FRONTEND),
    ] {
        let allowed = call(&world, method, Some(holder)).await;
        // Past the gate an empty message is fine or lacks fields, or opens a stream.
        let code = allowed.as_ref().map_or_else(Status::code, |()| Code::Ok);
        assert!(matches!(code, Code::Ok | Code::InvalidArgument | Code::DeadlineExceeded), "{method}: {allowed:?}");
        let status = call(&world, method, Some(other)).await.expect_err(method);
        assert_eq!(refusal(&status), refused(Code::PermissionDenied, "SCOPE_MISSING", &[]), "{method}");
        assert_eq!(fact(&status, "scope").as_deref(), Some(scope), "{method}");
        for (token, reason) in [
            (None, "TOKEN_MISSING"),
            (Some(""), "TOKEN_UNKNOWN"),
            (Some("frontend-de"), "TOKEN_UNKNOWN"),
            (Some("expired-token"), "TOKEN_EXPIRED"),
        ] {
            let refusal = refused_call(&world, method, token).await;
            assert_eq!(refusal, refused(Code::Unauthenticated, reason, &[]), "{method} with {token:?}");
        }
    }
    assert_eq!(world.rows().await, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_of_the_package_can_be_called_without_a_token() {
    let world = World::start().await;
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("what protox compiled").file;
    let mut methods = 0;
    for file in files.iter().filter(|file| file.package() == "billing.v1") {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/billing.v1.{}/{}", service.name(), method.name());
                let refusal = refused_call(&world, &path, None).await;
                let expected = refused(Code::Unauthenticated, "TOKEN_MISSING", &[]);
                assert_eq!(refusal, expected, "{path} is missing in the table of scopes");
                methods += 1;
            }
        }
    }
    assert_eq!(methods, 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_unimplemented_with_any_token() {
    let world = World::start().await;
    for method in ["/billing.v1.Payments/Refund", "/billing.v2.Payments/GetPayment", "/x.Y/Z"] {
        for token in ["", FRONTEND] {
            let refusal = refused_call(&world, method, Some(token)).await;
            assert_eq!(refusal, refused(Code::Unimplemented, "NO_SUCH_METHOD", &[]));
        }
    }
}
