//! `billing.v1.Reconciliation`: what the staff asks for, sees and decides.

use billing::reconciliation::{Listed, ListedOperation, Phase};
use billing::store::reconciliation as store;
use billing::{ReconciliationId, clock};
use billing_api::proto::reconciliation_client::ReconciliationClient;
use billing_api::proto::{
    DifferenceKind, DifferenceState, GetReconciliationRunRequest, ListDifferencesRequest,
    ListReconciliationDaysRequest, ReconciliationPhase, ReconciliationRun, ResolveDifferenceRequest,
    RunReconciliationRequest,
};
use chrono::TimeDelta;
use tonic::Code;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::refused::{refusal, refused};
use crate::world::{PANEL, World, by};

impl World {
    fn reconciliation(&self) -> ReconciliationClient<Channel> {
        ReconciliationClient::new(self.channel())
    }

    /// A worker would read this list and find nothing of it here.
    async fn compares(&self, run: &ReconciliationRun, transactions: &[i64]) {
        let id: ReconciliationId = run.run_id.parse().expect("an id");
        let now = clock::now();
        let mut conn = self.services.db.conn().await.expect("the database answers");
        let mut run = store::claim(&mut conn, id, now, now).await.expect("claimed").expect("nobody else has it");
        let page: Vec<Listed> = transactions.iter().map(|id| stray(*id, &run)).collect();
        while run.phase == Phase::Listing {
            run = store::keep_page(&mut conn, &run, &page, now, now).await.expect("kept").expect("the next");
            run = store::end_reading(&mut conn, &run).await.expect("read").expect("the next");
        }
        run = store::keep_chargebacks(&mut conn, &run, &[], now, now).await.expect("kept").expect("the next");
        while run.phase != Phase::Settling {
            run = store::compare(&mut conn, &run, 100, now, now).await.expect("compared").run.expect("the next");
        }
        store::end(&mut conn, &run, now).await.expect("ended");
    }
}

fn stray(transaction_id: i64, run: &store::Run) -> Listed {
    Listed {
        transaction_id,
        created_at: run.range_from + TimeDelta::seconds(transaction_id),
        operation: ListedOperation::Payment,
        status: Some("Completed"),
        amount: Some(39_900),
        currency: Some("RUB".to_owned()),
        invoice_id: Some("another-system".to_owned()),
        account_id: Some("somebody".to_owned()),
        payment_id: None,
        bill_id: None,
        original_id: None,
        refunded: None,
        test_mode: Some(true),
        on_our_terminal: true,
        payout_on: None,
        payout_amount: None,
    }
}

fn a_day() -> RunReconciliationRequest {
    RunReconciliationRequest {
        first_day: "2026-03-10".to_owned(),
        last_day: "2026-03-10".to_owned(),
        actor: "anna".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_compared_and_what_does_not_agree_is_listed_and_decided_about() {
    let world = World::start().await;
    let mut api = world.reconciliation();
    let run = api.run(by(PANEL, a_day())).await.expect("ordered").into_inner();
    assert_eq!((run.phase(), run.asked_by.as_str()), (ReconciliationPhase::Listing, "anna"));
    world.compares(&run, &[1, 2, 3]).await;

    let get = GetReconciliationRunRequest { run_id: run.run_id.clone() };
    let run = api.get_run(by(PANEL, get)).await.expect("found").into_inner();
    assert_eq!((run.phase(), run.transactions, run.differences), (ReconciliationPhase::Ended, 3, 3));
    let days = ListReconciliationDaysRequest { first_day: "2026-03-09".into(), last_day: "2026-03-10".into() };
    let days = api.list_days(by(PANEL, days)).await.expect("days").into_inner().days;
    let days: Vec<_> = days.iter().map(|day| (&*day.day, &*day.run_id, day.open_differences)).collect();
    assert_eq!(days, [("2026-03-09", "", 0), ("2026-03-10", &*run.run_id, 3)]);

    let mut ask = ListDifferencesRequest { page_size: 2, run_id: run.run_id.clone(), ..Default::default() };
    let first = api.list_differences(by(PANEL, ask.clone())).await.expect("a page").into_inner();
    ask.page_token.clone_from(&first.next_page_token);
    let second = api.list_differences(by(PANEL, ask)).await.expect("a page").into_inner();
    let all: Vec<_> = first.differences.iter().chain(&second.differences).collect();
    let numbers: Vec<_> = all.iter().map(|found| found.gateway_transaction_id).collect();
    assert_eq!((numbers, second.next_page_token.as_str()), (vec![3, 2, 1], ""), "the latest first, each once");
    assert_eq!((all[0].kind(), all[0].state()), (DifferenceKind::MissingHere, DifferenceState::Open));
    assert_eq!((all[0].gateway_amount_minor, &*all[0].gateway_currency, &*all[0].our_state), (39_900, "RUB", ""));

    let decision = ResolveDifferenceRequest {
        difference_id: all[0].difference_id.clone(),
        state: DifferenceState::Explained.into(),
        reason: "the shop for gifts".to_owned(),
        actor: "boris".to_owned(),
    };
    let decided = api.resolve_difference(by(PANEL, decision.clone())).await.expect("decided").into_inner();
    assert_eq!((decided.state(), &*decided.decided_by), (DifferenceState::Explained, "boris"));
    let again = api.resolve_difference(by(PANEL, decision)).await.expect("the same").into_inner();
    assert_eq!(again, decided, "asked again it is as it is");
    let open = ListDifferencesRequest { state: DifferenceState::Open.into(), ..Default::default() };
    assert_eq!(api.list_differences(by(PANEL, open)).await.expect("a page").into_inner().differences.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_field_is_named() {
    let world = World::start().await;
    let mut api = world.reconciliation();
    for (wrong, fields) in [
        (RunReconciliationRequest::default(), &["first_day", "last_day", "actor"][..]),
        (RunReconciliationRequest { first_day: "10.03.2026".into(), ..a_day() }, &["first_day"]),
        (RunReconciliationRequest { last_day: "2026-03-09".into(), ..a_day() }, &["last_day"]),
        (RunReconciliationRequest { last_day: "2027-03-11".into(), ..a_day() }, &["last_day"]),
    ] {
        let status = api.run(by(PANEL, wrong)).await.expect_err("wrong");
        let (code, _, blamed) = refusal(&status);
        assert_eq!((code, blamed), (Code::InvalidArgument, fields.iter().map(ToString::to_string).collect()));
    }
    let nothing = ResolveDifferenceRequest::default();
    let (_, _, mut blamed) = refusal(&api.resolve_difference(by(PANEL, nothing)).await.expect_err("wrong"));
    blamed.sort();
    assert_eq!(blamed, ["actor", "difference_id", "reason", "state"]);
    let page = ListDifferencesRequest { page_token: Uuid::new_v4().to_string(), ..Default::default() };
    let (code, _, blamed) = refusal(&api.list_differences(by(PANEL, page)).await.expect_err("wrong"));
    assert_eq!((code, blamed), (Code::InvalidArgument, vec!["page_token".to_owned()]));

    let missing = GetReconciliationRunRequest { run_id: Uuid::new_v4().to_string() };
    let status = api.get_run(by(PANEL, missing)).await.expect_err("missing");
    assert_eq!(refusal(&status), refused(Code::NotFound, "RECONCILIATION_NOT_FOUND", &["run_id"]));
    let missing = ResolveDifferenceRequest {
        difference_id: Uuid::new_v4().to_string(),
        state: DifferenceState::Resolved.into(),
        reason: "x".into(),
        actor: "anna".into(),
    };
    let status = api.resolve_difference(by(PANEL, missing)).await.expect_err("missing");
    assert_eq!(refusal(&status), refused(Code::NotFound, "DIFFERENCE_NOT_FOUND", &["difference_id"]));
}
