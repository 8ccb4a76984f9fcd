//! `billing.v1.Reconciliation`

use billing::reconciliation::{DifferenceKind, DifferenceState, Phase, RunKind};
use billing::store::reconciliation::{self as store, Day, DecideError, Decision, Difference, Filter, Run};
use billing::tasks::Reconcile;
use billing::{Kopecks, Services};
use tonic::{Request, Response, Status};

use crate::convert::timestamp;
use crate::error::{ApiError, Resource};
use crate::proto;
use crate::proto::reconciliation_server::Reconciliation;
use crate::validation::{self, DifferencesForm, ResolveForm, RunForm};

pub(crate) struct ReconciliationApi {
    pub(crate) services: Services,
}

#[tonic::async_trait]
impl Reconciliation for ReconciliationApi {
    async fn run(
        &self,
        request: Request<proto::RunReconciliationRequest>,
    ) -> Result<Response<proto::ReconciliationRun>, Status> {
        let form = validation::run_reconciliation(&request.into_inner())?;
        Ok(Response::new(run(self.order(form).await?)))
    }

    async fn get_run(
        &self,
        request: Request<proto::GetReconciliationRunRequest>,
    ) -> Result<Response<proto::ReconciliationRun>, Status> {
        let id = validation::run_id(&request.into_inner().run_id)?;
        let found = {
            let mut conn = self.services.db.conn().await.map_err(ApiError::from)?;
            store::get(&mut conn, id).await.map_err(ApiError::from)?
        };
        let found = found.ok_or_else(|| ApiError::not_found(Resource::Reconciliation, &id))?;
        Ok(Response::new(run(found)))
    }

    async fn list_days(
        &self,
        request: Request<proto::ListReconciliationDaysRequest>,
    ) -> Result<Response<proto::ListReconciliationDaysResponse>, Status> {
        let request = request.into_inner();
        let (first, last) = validation::days(&request.first_day, &request.last_day)?;
        let mut conn = self.services.db.conn().await.map_err(ApiError::from)?;
        let days = store::days(&mut conn, first, last).await.map_err(ApiError::from)?;
        let days = days.iter().map(day).collect();
        Ok(Response::new(proto::ListReconciliationDaysResponse { days }))
    }

    async fn list_differences(
        &self,
        request: Request<proto::ListDifferencesRequest>,
    ) -> Result<Response<proto::ListDifferencesResponse>, Status> {
        let form = validation::list_differences(&request.into_inner())?;
        Ok(Response::new(self.differences(form).await?))
    }

    async fn resolve_difference(
        &self,
        request: Request<proto::ResolveDifferenceRequest>,
    ) -> Result<Response<proto::Difference>, Status> {
        let form = validation::resolve_difference(&request.into_inner())?;
        Ok(Response::new(difference(self.decide(form).await?)))
    }
}

impl ReconciliationApi {
    /// Written down first: should the message be lost, the timetable sends it.
    async fn order(&self, form: RunForm) -> Result<Run, ApiError> {
        let services = &self.services;
        let run = {
            let mut conn = services.db.conn().await?;
            store::ask(&mut conn, RunKind::Asked, form.range, &form.actor, services.db.now()).await?
        };
        if let Err(error) = services.app.send(Reconcile { reconciliation_id: run.id }).await {
            tracing::warn!(run = %run.id, %error, "the reconciliation is left to the timetable");
        }
        Ok(run)
    }

    async fn differences(&self, form: DifferencesForm) -> Result<proto::ListDifferencesResponse, ApiError> {
        let DifferencesForm { state, run, limit, before } = form;
        let mut conn = self.services.db.conn().await?;
        let before = match before {
            Some(id) => {
                let last = store::by_id(&mut conn, id).await?;
                Some(last.map(|last| (last.at, last.id)).ok_or_else(validation::no_such_page)?)
            }
            None => None,
        };
        let filter = Filter { state, kind: None, run, before };
        let mut rows = store::list(&mut conn, filter, limit + 1).await?;
        let has_more = rows.len() as i64 > limit;
        rows.truncate(usize::try_from(limit).unwrap_or_default());
        let next_page_token = match rows.last() {
            Some(last) if has_more => last.id.to_string(),
            _ => String::new(),
        };
        Ok(proto::ListDifferencesResponse { differences: rows.into_iter().map(difference).collect(), next_page_token })
    }

    async fn decide(&self, form: ResolveForm) -> Result<Difference, ApiError> {
        let ResolveForm { id, state, reason, actor } = form;
        let mut conn = self.services.db.conn().await?;
        let decision = Decision { state, by: actor, reason };
        match store::decide(&mut conn, id, decision, self.services.db.now()).await {
            Ok(decided) => Ok(decided),
            Err(DecideError::NoChange) => {
                store::by_id(&mut conn, id).await?.ok_or_else(|| ApiError::not_found(Resource::Difference, &id))
            }
            Err(DecideError::Unknown(id)) => Err(ApiError::not_found(Resource::Difference, &id)),
            Err(DecideError::Store(error)) => Err(error.into()),
            // Both were read field by field before.
            Err(error @ (DecideError::Reason | DecideError::By)) => Err(ApiError::Internal(error.into())),
        }
    }
}

fn run(run: Run) -> proto::ReconciliationRun {
    let phase = match run.phase {
        Phase::Listing | Phase::Chargebacks => proto::ReconciliationPhase::Listing,
        Phase::Comparing | Phase::ComparingOurs => proto::ReconciliationPhase::Comparing,
        Phase::Settling => proto::ReconciliationPhase::Settling,
        Phase::Ended => proto::ReconciliationPhase::Ended,
    };
    proto::ReconciliationRun {
        run_id: run.id.to_string(),
        range_from: Some(timestamp(run.range_from)),
        range_to: Some(timestamp(run.range_to)),
        phase: phase.into(),
        asked_by: run.asked_by.unwrap_or_default(),
        created_at: Some(timestamp(run.created_at)),
        started_at: run.started_at.map(timestamp),
        ended_at: run.ended_at.map(timestamp),
        transactions: run.transactions,
        payments: run.payments,
        differences: run.found,
        put_right: run.settled,
        list_was_moving: run.is_stable == Some(false),
        trouble: run.trouble.unwrap_or_default(),
    }
}

fn day(day: &Day) -> proto::ReconciliationDay {
    proto::ReconciliationDay {
        day: day.day.to_string(),
        run_id: day.run.map(|run| run.to_string()).unwrap_or_default(),
        ended_at: day.ended_at.map(timestamp),
        open_differences: day.open,
    }
}

fn difference(found: Difference) -> proto::Difference {
    use proto::{DifferenceKind as Kind, DifferenceState as State};
    let kind = match found.kind {
        DifferenceKind::MissingHere => Kind::MissingHere,
        DifferenceKind::MissingThere => Kind::MissingThere,
        DifferenceKind::Amount => Kind::Amount,
        DifferenceKind::Currency => Kind::Currency,
        DifferenceKind::Status => Kind::Status,
        DifferenceKind::Duplicate => Kind::Duplicate,
        DifferenceKind::RefundMissingHere => Kind::RefundMissingHere,
        DifferenceKind::RefundMissingThere => Kind::RefundMissingThere,
        DifferenceKind::RefundAmount => Kind::RefundAmount,
        DifferenceKind::Chargeback => Kind::Chargeback,
        DifferenceKind::Ledger => Kind::Ledger,
    };
    let state = match found.state {
        DifferenceState::Open => State::Open,
        DifferenceState::Explained => State::Explained,
        DifferenceState::Resolved => State::Resolved,
    };
    let minor = |amount: Option<Kopecks>| amount.map(Kopecks::get).unwrap_or_default();
    proto::Difference {
        difference_id: found.id.to_string(),
        kind: kind.into(),
        subject: found.subject,
        at: Some(timestamp(found.at)),
        found_at: Some(timestamp(found.created_at)),
        seen_at: Some(timestamp(found.seen_at)),
        seen_by_run_id: found.seen_by.to_string(),
        gateway_transaction_id: found.transaction_id.unwrap_or_default(),
        payment_id: found.payment_id.map(|id| id.to_string()).unwrap_or_default(),
        account_id: found.account_id.unwrap_or_default(),
        invoice_id: found.invoice_id.unwrap_or_default(),
        our_amount_minor: minor(found.our_amount),
        our_currency: found.our_currency.unwrap_or_default(),
        our_state: found.our_state.unwrap_or_default(),
        gateway_amount_minor: minor(found.their_amount),
        gateway_currency: found.their_currency.unwrap_or_default(),
        gateway_status: found.their_status.unwrap_or_default(),
        state: state.into(),
        decided_at: found.decided_at.map(timestamp),
        decided_by: found.decided_by.unwrap_or_default(),
        reason: found.reason.unwrap_or_default(),
    }
}
