//! Reconciliations and what they found.

use billing::reconciliation::{DifferenceState, Range};
use billing::{DifferenceId, ReconciliationId};
use chrono::NaiveDate;

use super::fields::{Fields, NO_SUCH_PAGE, one};
use super::rules::{actor, line, uuid};
use crate::error::ApiError;
use crate::proto;

/// A sound `RunReconciliationRequest`.
pub(crate) struct RunForm {
    pub(crate) range: Range,
    pub(crate) actor: String,
}

pub(crate) fn run_reconciliation(request: &proto::RunReconciliationRequest) -> Result<RunForm, ApiError> {
    let mut fields = Fields::default();
    let days = fields.days(&request.first_day, &request.last_day);
    let actor = fields.read("actor", request.actor.trim(), actor);
    let (Some((first, last)), Some(actor)) = (days, actor) else { return Err(fields.into()) };
    Ok(RunForm { range: Range::of_days(first, last), actor })
}

/// The first day of a stretch, and its last.
pub(crate) fn days(first: &str, last: &str) -> Result<(NaiveDate, NaiveDate), ApiError> {
    let mut fields = Fields::default();
    fields.days(first, last).ok_or_else(|| fields.into())
}

pub(crate) fn run_id(text: &str) -> Result<ReconciliationId, ApiError> {
    one("run_id", text).map(ReconciliationId::from)
}

/// A sound `ListDifferencesRequest`.
pub(crate) struct DifferencesForm {
    pub(crate) state: Option<DifferenceState>,
    pub(crate) run: Option<ReconciliationId>,
    pub(crate) limit: i64,
    /// The last one of the page before.
    pub(crate) before: Option<DifferenceId>,
}

pub(crate) fn list_differences(request: &proto::ListDifferencesRequest) -> Result<DifferencesForm, ApiError> {
    let mut fields = Fields::default();
    let state = match proto::DifferenceState::try_from(request.state) {
        Ok(proto::DifferenceState::Unspecified) => None,
        Ok(state) => difference_state(state),
        Err(_) => {
            fields.broken("state", "must be a state of this version");
            None
        }
    };
    let run = match request.run_id.as_str() {
        "" => None,
        text => fields.read("run_id", text, uuid).map(ReconciliationId::from),
    };
    let limit = match request.page_size {
        0 => 20,
        size @ 1..=100 => i64::from(size),
        _ => {
            fields.broken("page_size", "must be from 1 to 100, or 0 for 20");
            0
        }
    };
    let before = match request.page_token.as_str() {
        "" => None,
        text => fields.read("page_token", text, |text| uuid(text).map_err(|_| NO_SUCH_PAGE)).map(DifferenceId::from),
    };
    if fields.0.is_empty() { Ok(DifferencesForm { state, run, limit, before }) } else { Err(fields.into()) }
}

/// A sound `ResolveDifferenceRequest`.
pub(crate) struct ResolveForm {
    pub(crate) id: DifferenceId,
    pub(crate) state: DifferenceState,
    pub(crate) reason: String,
    pub(crate) actor: String,
}

pub(crate) fn resolve_difference(request: &proto::ResolveDifferenceRequest) -> Result<ResolveForm, ApiError> {
    let mut fields = Fields::default();
    let id = fields.read("difference_id", &request.difference_id, uuid);
    let state = proto::DifferenceState::try_from(request.state).ok().and_then(difference_state);
    if state.is_none() {
        fields.broken("state", "must be open, explained or resolved");
    }
    let long_reason = |text: &str| line(text, 1_000).ok_or("must be 1 to 1000 characters without control characters");
    let reason = fields.read("reason", request.reason.trim(), long_reason);
    let actor = fields.read("actor", request.actor.trim(), actor);
    let (Some(id), Some(state), Some(reason), Some(actor)) = (id, state, reason, actor) else {
        return Err(fields.into());
    };
    Ok(ResolveForm { id: id.into(), state, reason, actor })
}

const fn difference_state(state: proto::DifferenceState) -> Option<DifferenceState> {
    match state {
        proto::DifferenceState::Unspecified => None,
        proto::DifferenceState::Open => Some(DifferenceState::Open),
        proto::DifferenceState::Explained => Some(DifferenceState::Explained),
        proto::DifferenceState::Resolved => Some(DifferenceState::Resolved),
    }
}
