//! Refunds by the staff.

use billing::refund::AccessEffect;
use billing::store::refunds::Listing;
use billing::{AccountId, Kopecks, PaymentId, RefundId};

use super::fields::{Fields, one};
use super::rules::{actor, idempotency_key, reason, role, uuid};
use crate::error::ApiError;
use crate::proto;

/// A sound `RefundPaymentRequest`.
#[derive(Debug)]
pub(crate) struct RefundForm {
    pub(crate) payment_id: PaymentId,
    pub(crate) amount: Option<Kopecks>,
    pub(crate) effect: Option<AccessEffect>,
    pub(crate) reason: String,
    pub(crate) actor: String,
    pub(crate) role: String,
    pub(crate) idempotency_key: String,
}

impl TryFrom<proto::RefundPaymentRequest> for RefundForm {
    type Error = ApiError;

    fn try_from(request: proto::RefundPaymentRequest) -> Result<Self, ApiError> {
        use proto::AccessEffect as Effect;
        let mut fields = Fields::default();
        let payment_id = fields.read("payment_id", &request.payment_id, uuid);
        let reason = fields.read("reason", request.reason.trim(), reason);
        let actor = fields.read("actor", request.actor.trim(), actor);
        let role = fields.read("actor_role", request.actor_role.trim(), role);
        let idempotency_key = fields.read("idempotency_key", &request.idempotency_key, idempotency_key);
        let amount = match (request.amount_kopecks, Kopecks::billable(request.amount_kopecks)) {
            (0, _) => None,
            (_, Ok(amount)) => Some(amount),
            (_, Err(_)) => {
                fields.broken("amount_kopecks", "must be from 1 to 100000000, or 0 for all that is left");
                None
            }
        };
        let effect = match Effect::try_from(request.access_effect) {
            Ok(Effect::Unspecified) => None,
            Ok(Effect::Keep) => Some(AccessEffect::Keep),
            Ok(Effect::Shorten) => Some(AccessEffect::Shorten),
            Ok(Effect::End) => Some(AccessEffect::End),
            Err(_) => {
                fields.broken("access_effect", "must be one of this version");
                None
            }
        };
        let (Some(payment_id), Some(reason), Some(actor), Some(role), Some(idempotency_key), true) =
            (payment_id, reason, actor, role, idempotency_key, fields.0.is_empty())
        else {
            return Err(fields.into());
        };
        Ok(Self { payment_id: payment_id.into(), amount, effect, reason, actor, role, idempotency_key })
    }
}

/// A sound `ListRefundsRequest`.
pub(crate) fn refunds(request: &proto::ListRefundsRequest) -> Result<Listing, ApiError> {
    let mut fields = Fields::default();
    let payment_id = fields.maybe("payment_id", &request.payment_id);
    let account_id = fields.maybe("account_id", &request.account_id);
    let limit = fields.page_size(request.page_size);
    let before = fields.page_token(&request.page_token);
    if !fields.0.is_empty() {
        return Err(fields.into());
    }
    Ok(Listing {
        payment_id: payment_id.map(PaymentId::from),
        account_id: account_id.map(AccountId::from),
        waiting_for_approval: request.waiting_for_approval,
        before: before.map(RefundId::from),
        limit,
    })
}

/// A sound `ApproveRefundRequest`.
pub(crate) struct ApprovalForm {
    pub(crate) id: RefundId,
    pub(crate) actor: String,
    pub(crate) role: String,
}

pub(crate) fn approval(request: &proto::ApproveRefundRequest) -> Result<ApprovalForm, ApiError> {
    let mut fields = Fields::default();
    let id = fields.read("refund_id", &request.refund_id, uuid);
    let actor = fields.read("actor", request.actor.trim(), actor);
    let role = fields.read("actor_role", request.actor_role.trim(), role);
    let (Some(id), Some(actor), Some(role)) = (id, actor, role) else { return Err(fields.into()) };
    Ok(ApprovalForm { id: id.into(), actor, role })
}

/// A sound `WithdrawRefundRequest`.
pub(crate) fn withdrawal(request: &proto::WithdrawRefundRequest) -> Result<(RefundId, String), ApiError> {
    let mut fields = Fields::default();
    let id = fields.read("refund_id", &request.refund_id, uuid);
    let actor = fields.read("actor", request.actor.trim(), actor);
    let (Some(id), Some(actor)) = (id, actor) else { return Err(fields.into()) };
    Ok((id.into(), actor))
}

pub(crate) fn refund_id(text: &str) -> Result<RefundId, ApiError> {
    one("refund_id", text).map(RefundId::from)
}
