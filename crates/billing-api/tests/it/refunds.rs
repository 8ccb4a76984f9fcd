//! Money that goes back, as the panel of the staff asks for it.

use billing_api::proto::refunds_client::RefundsClient;
use billing_api::proto::{
    AccessEffect, ApproveRefundRequest, GetRefundRequest, ListRefundsRequest, Refund, RefundPaymentRequest,
    RefundSource, RefundStatus, WithdrawRefundRequest,
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::refused::{fact, refusal, refused};
use crate::worker::completed;
use crate::world::{PANEL, World, by};

impl World {
    /// A payment that took its money.
    async fn taken(&self) -> String {
        let payment = self.payment().await;
        self.charged(&payment.payment_id, completed(payment.amount_kopecks)).await;
        payment.payment_id
    }

    async fn gives_back(&self, request: RefundPaymentRequest) -> Result<tonic::Response<Refund>, Status> {
        RefundsClient::new(self.channel()).refund_payment(by(PANEL, request)).await
    }

    async fn approves(&self, refund_id: &str, actor: &str, role: &str) -> Result<Refund, Status> {
        let request = ApproveRefundRequest {
            refund_id: refund_id.to_owned(),
            actor: actor.to_owned(),
            actor_role: role.to_owned(),
        };
        RefundsClient::new(self.channel()).approve_refund(by(PANEL, request)).await.map(tonic::Response::into_inner)
    }

    async fn takes_back(&self, refund_id: &str) -> Result<Refund, Status> {
        let request = WithdrawRefundRequest { refund_id: refund_id.to_owned(), actor: "boris".to_owned() };
        RefundsClient::new(self.channel()).withdraw_refund(by(PANEL, request)).await.map(tonic::Response::into_inner)
    }

    async fn refund(&self, refund_id: &str) -> Result<Refund, Status> {
        let request = GetRefundRequest { refund_id: refund_id.to_owned() };
        RefundsClient::new(self.channel()).get_refund(by(PANEL, request)).await.map(tonic::Response::into_inner)
    }

    /// Messages for those who send refunds.
    async fn refunds_waiting(&self) -> u64 {
        let depth = self.services.app.broker().queue_depth("lookups").await.expect("the broker answers");
        depth.map_or(0, |depth| depth.messages)
    }
}

fn all_of(payment_id: &str) -> RefundPaymentRequest {
    RefundPaymentRequest {
        payment_id: payment_id.to_owned(),
        amount_kopecks: 0,
        access_effect: AccessEffect::Unspecified.into(),
        reason: "the film did not start".to_owned(),
        actor: "anna".to_owned(),
        actor_role: "accountant".to_owned(),
        idempotency_key: Uuid::new_v4().to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_written_down_once_for_a_key_and_its_worker_is_told() {
    let world = World::start().await;
    let payment_id = world.taken().await;
    let request = all_of(&payment_id);
    let first = world.gives_back(request.clone()).await.expect("asked for");
    assert!(first.metadata().get("idempotent-replayed").is_none());
    let first = first.into_inner();
    assert_eq!((first.status(), first.source()), (RefundStatus::Requested, RefundSource::Ours));
    assert_eq!((first.access_effect(), first.amount_kopecks), (AccessEffect::End, 5_900));
    assert_eq!((&*first.reason, &*first.requested_by, &*first.approved_by), ("the film did not start", "anna", ""));
    assert_eq!(world.refunds_waiting().await, 1);
    let again = world.gives_back(request.clone()).await.expect("the same");
    assert_eq!(again.metadata().get("idempotent-replayed").expect("said"), "true");
    assert_eq!(again.into_inner(), first);
    assert_eq!(world.refund(&first.refund_id).await.expect("found"), first);
    let other = RefundPaymentRequest { amount_kopecks: 1, ..request };
    let status = world.gives_back(other).await.expect_err("another content");
    assert_eq!(refusal(&status), refused(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED", &["idempotency_key"]));
    let second = world.gives_back(all_of(&payment_id)).await.expect_err("one at a time");
    assert_eq!(refusal(&second), refused(Code::FailedPrecondition, "REFUND_UNFINISHED", &["payment_id"]));
    assert_eq!(fact(&second, "refund_id").as_deref(), Some(&*first.refund_id));

    let back = world.takes_back(&first.refund_id).await.expect("not sent yet");
    assert_eq!(back.status(), RefundStatus::Failed);
    assert_eq!(world.takes_back(&first.refund_id).await.expect("it is so already"), back);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_breaks_a_rule_is_named() {
    let world = World::start().await;
    let status = world.gives_back(RefundPaymentRequest::default()).await.expect_err("empty");
    let fields = ["payment_id", "reason", "actor", "actor_role", "idempotency_key"];
    assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &fields));
    let wrong = RefundPaymentRequest {
        payment_id: "7".to_owned(),
        amount_kopecks: -1,
        access_effect: 99,
        reason: "x".repeat(501),
        actor: "an\u{0}na".to_owned(),
        ..all_of("")
    };
    let status = world.gives_back(wrong).await.expect_err("wrong");
    let fields = ["payment_id", "reason", "actor", "amount_kopecks", "access_effect"];
    assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &fields));
    let blank = RefundPaymentRequest { reason: "  ".to_owned(), ..all_of(&Uuid::new_v4().to_string()) };
    let status = world.gives_back(blank).await.expect_err("no reason is no reason");
    assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_FIELDS", &["reason"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_back_is_refused_and_says_what_to_do() {
    let world = World::start().await;
    let payment_id = world.taken().await;
    let unpaid = world.payment().await.payment_id;
    let nobody = Uuid::new_v4().to_string();
    for (request, code, reason, field) in [
        (all_of(&unpaid), Code::FailedPrecondition, "NOTHING_TAKEN", "payment_id"),
        (all_of(&nobody), Code::NotFound, "PAYMENT_NOT_FOUND", "payment_id"),
        (
            RefundPaymentRequest { amount_kopecks: 5_901, ..all_of(&payment_id) },
            Code::FailedPrecondition,
            "MORE_THAN_LEFT",
            "amount_kopecks",
        ),
        (
            RefundPaymentRequest { actor_role: "support".to_owned(), ..all_of(&payment_id) },
            Code::PermissionDenied,
            "ROLE_MAY_NOT_REFUND",
            "actor_role",
        ),
    ] {
        let status = world.gives_back(request).await.expect_err(reason);
        assert_eq!(refusal(&status), refused(code, reason, &[field]));
    }
    for status in [
        world.refund(&nobody).await.expect_err("unknown"),
        world.approves(&nobody, "vera", "chief_accountant").await.expect_err("unknown"),
        world.takes_back(&nobody).await.expect_err("unknown"),
    ] {
        assert_eq!(refusal(&status), refused(Code::NotFound, "REFUND_NOT_FOUND", &["refund_id"]));
    }
    assert_eq!(world.refunds_waiting().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_limit_it_waits_for_another_person_and_is_listed_until_then() {
    let world = World::start().await;
    {
        use diesel_async::RunQueryDsl as _;
        let mut conn = world.services.db.conn().await.expect("the database answers");
        let lower = diesel::sql_query("update refund_limit set alone = 100 where role = 'accountant'");
        lower.execute(&mut *conn).await.expect("lowered");
    }
    let payment_id = world.taken().await;
    let small = RefundPaymentRequest { amount_kopecks: 100, ..all_of(&payment_id) };
    let small = world.gives_back(small).await.expect("alone").into_inner();
    assert_eq!(small.status(), RefundStatus::Requested);
    world.takes_back(&small.refund_id).await.expect("not sent yet");
    let sent = world.refunds_waiting().await;
    let large = world.gives_back(all_of(&payment_id)).await.expect("asked for").into_inner();
    assert_eq!(large.status(), RefundStatus::WaitingForApproval);
    assert_eq!(world.refunds_waiting().await, sent, "nobody is told yet");

    let list = async |request: ListRefundsRequest| {
        RefundsClient::new(world.channel()).list_refunds(by(PANEL, request)).await.expect("listed").into_inner()
    };
    let waiting = list(ListRefundsRequest { waiting_for_approval: true, ..Default::default() }).await;
    assert_eq!(waiting.refunds, std::slice::from_ref(&large));
    let of_payment = ListRefundsRequest { payment_id: payment_id.clone(), page_size: 1, ..Default::default() };
    let page = list(of_payment.clone()).await;
    assert_eq!((page.refunds.len(), &page.refunds[0]), (1, &large));
    let page = list(ListRefundsRequest { page_token: page.next_page_token, ..of_payment }).await;
    assert_eq!((&page.refunds[0].refund_id, &*page.next_page_token), (&small.refund_id, ""));

    let status = world.approves(&large.refund_id, "anna", "chief_accountant").await.expect_err("the same person");
    assert_eq!(refusal(&status), refused(Code::PermissionDenied, "SAME_PERSON", &["actor"]));
    let status = world.approves(&large.refund_id, "boris", "accountant").await.expect_err("may not");
    assert_eq!(refusal(&status), refused(Code::PermissionDenied, "ROLE_MAY_NOT_REFUND", &["actor_role"]));
    let approved = world.approves(&large.refund_id, "vera", "chief_accountant").await.expect("approved");
    assert_eq!((approved.status(), &*approved.approved_by), (RefundStatus::Requested, "vera"));
    assert_eq!(world.refunds_waiting().await, sent + 1);
    let status = world.approves(&large.refund_id, "gleb", "chief_accountant").await.expect_err("it waits for nobody");
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "NOT_WAITING", &["refund_id"]));
    let by_staff = "select count(*) as n from event where kind = 'refund_moved' and source = 'staff'";
    assert_eq!(world.number(by_staff).await, 4, "asked for twice, taken back, approved: a person's doing each");
}

impl World {
    async fn number(&self, query: &str) -> i64 {
        use diesel_async::RunQueryDsl as _;
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            n: i64,
        }
        let mut conn = self.services.db.conn().await.expect("the database answers");
        diesel::sql_query(query).get_result::<Count>(&mut *conn).await.expect("a count").n
    }
}
