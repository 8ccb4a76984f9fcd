//! From what came over the wire to what the domain takes.
//!
//! A request is read field by field, and every rule it breaks is told at once. Nothing but what passed here reaches
//! [`billing::store`].

use std::net::{IpAddr, Ipv4Addr};

use billing::event::{EventKind, ResumeToken};
use billing::models::Trial;
use billing::reconciliation::{DifferenceState, MAX_DAYS, Range};
use billing::refund::AccessEffect;
use billing::store::refunds::{Ask, Listing};
use billing::{AccountId, BillId, DifferenceId, Kopecks, PaymentId, ReconciliationId, RefundId, TariffId};
use chrono::NaiveDate;
use secrecy::SecretString;
use uuid::Uuid;

use crate::error::{ApiError, Violation};
use crate::{convert, proto};

/// Longest message taken from the wire, in bytes: room for the largest PaRes and everything beside it.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;

/// Real packets have 300 to 1,500 characters.
const MAX_CRYPTOGRAM: usize = 4096;
const MAX_IDEMPOTENCY_KEY: usize = 128;
const MAX_ACCOUNT_IDS: usize = 1_000;
/// Real answers have 3,000 to 10,000 characters.
const MAX_PA_RES: usize = 32 * 1024;

/// A sound `CreatePaymentRequest`.
#[derive(Debug)]
pub(crate) struct NewPaymentForm {
    pub(crate) account_id: AccountId,
    pub(crate) tariff_id: TariffId,
    pub(crate) cryptogram: SecretString,
    pub(crate) ip_address: IpAddr,
    pub(crate) idempotency_key: String,
    pub(crate) trial: Option<Trial>,
}

impl TryFrom<proto::CreatePaymentRequest> for NewPaymentForm {
    type Error = ApiError;

    fn try_from(request: proto::CreatePaymentRequest) -> Result<Self, ApiError> {
        let mut fields = Fields::default();
        let account_id = fields.read("account_id", &request.account_id, uuid);
        let tariff_id = fields.read("tariff_id", &request.tariff_id, uuid);
        let cryptogram = fields.read("card_cryptogram_packet", &request.card_cryptogram_packet, cryptogram);
        let ip_address = fields.read("ip_address", &request.ip_address, ip_address);
        let idempotency_key = fields.read("idempotency_key", &request.idempotency_key, idempotency_key);
        let trial = request.trial.as_ref().and_then(|shown| fields.trial(shown));
        let is_sound = fields.0.is_empty();
        let (Some(account_id), Some(tariff_id), Some(cryptogram), Some(ip_address), Some(idempotency_key), true) =
            (account_id, tariff_id, cryptogram, ip_address, idempotency_key, is_sound)
        else {
            return Err(fields.into());
        };
        let (account_id, tariff_id) = (account_id.into(), tariff_id.into());
        Ok(Self { account_id, tariff_id, cryptogram, ip_address, idempotency_key, trial })
    }
}

/// A sound `SubmitThreeDsRequest`.
#[derive(Debug)]
pub(crate) struct ThreeDsForm {
    pub(crate) payment_id: PaymentId,
    /// The gateway's transaction.
    pub(crate) md: i64,
    pub(crate) pa_res: SecretString,
}

impl TryFrom<proto::SubmitThreeDsRequest> for ThreeDsForm {
    type Error = ApiError;

    fn try_from(request: proto::SubmitThreeDsRequest) -> Result<Self, ApiError> {
        let mut fields = Fields::default();
        let payment_id = fields.read("payment_id", &request.payment_id, uuid);
        let md = fields.read("md", &request.md, transaction_id);
        let pa_res = fields.read("pa_res", &request.pa_res, pa_res);
        let (Some(payment_id), Some(md), Some(pa_res)) = (payment_id, md, pa_res) else {
            return Err(fields.into());
        };
        Ok(Self { payment_id: payment_id.into(), md, pa_res })
    }
}

/// A sound request of a verb of a subscription.
pub(crate) struct VerbForm {
    pub(crate) account_id: AccountId,
    pub(crate) idempotency_key: String,
}

pub(crate) fn verb(account_id: &str, key: &str) -> Result<VerbForm, ApiError> {
    let mut fields = Fields::default();
    let account_id = fields.read("account_id", account_id, uuid);
    let idempotency_key = fields.read("idempotency_key", key, idempotency_key);
    let (Some(account_id), Some(idempotency_key)) = (account_id, idempotency_key) else {
        return Err(fields.into());
    };
    Ok(VerbForm { account_id: account_id.into(), idempotency_key })
}

/// A sound `ChangeTariffRequest`.
pub(crate) struct ChangeTariffForm {
    pub(crate) verb: VerbForm,
    pub(crate) tariff_id: TariffId,
    /// The amount that was shown; `None`: from the next period on.
    pub(crate) at_once: Option<Kopecks>,
}

impl TryFrom<proto::ChangeTariffRequest> for ChangeTariffForm {
    type Error = ApiError;

    fn try_from(request: proto::ChangeTariffRequest) -> Result<Self, ApiError> {
        let mut fields = Fields::default();
        let account_id = fields.read("account_id", &request.account_id, uuid);
        let tariff_id = fields.read("tariff_id", &request.tariff_id, uuid);
        let idempotency_key = fields.read("idempotency_key", &request.idempotency_key, idempotency_key);
        let shown = request.previewed_amount_kopecks;
        let at_once = match (request.at_once, Kopecks::billable(shown)) {
            (true, Ok(shown)) => Some(shown),
            (true, Err(_)) => {
                fields.broken("previewed_amount_kopecks", "must be the amount that PreviewChange told");
                None
            }
            (false, _) if shown != 0 => {
                fields.broken("previewed_amount_kopecks", "must be 0 without at_once");
                None
            }
            (false, _) => None,
        };
        let (Some(account_id), Some(tariff_id), Some(idempotency_key), true) =
            (account_id, tariff_id, idempotency_key, fields.0.is_empty())
        else {
            return Err(fields.into());
        };
        Ok(Self {
            at_once,
            verb: VerbForm { account_id: account_id.into(), idempotency_key },
            tariff_id: tariff_id.into(),
        })
    }
}

/// A sound `PreviewChangeRequest`.
pub(crate) fn preview(request: &proto::PreviewChangeRequest) -> Result<(AccountId, TariffId), ApiError> {
    let mut fields = Fields::default();
    let account_id = fields.read("account_id", &request.account_id, uuid);
    let tariff_id = fields.read("tariff_id", &request.tariff_id, uuid);
    let (Some(account_id), Some(tariff_id)) = (account_id, tariff_id) else { return Err(fields.into()) };
    Ok((account_id.into(), tariff_id.into()))
}

/// A sound `ReplaceCardRequest`.
#[derive(Debug)]
pub(crate) struct ReplaceCardForm {
    pub(crate) account_id: AccountId,
    pub(crate) idempotency_key: String,
    pub(crate) cryptogram: SecretString,
    pub(crate) ip_address: IpAddr,
    pub(crate) pay_debt: bool,
}

impl TryFrom<proto::ReplaceCardRequest> for ReplaceCardForm {
    type Error = ApiError;

    fn try_from(request: proto::ReplaceCardRequest) -> Result<Self, ApiError> {
        let mut fields = Fields::default();
        let account_id = fields.read("account_id", &request.account_id, uuid);
        let idempotency_key = fields.read("idempotency_key", &request.idempotency_key, idempotency_key);
        let cryptogram = fields.read("card_cryptogram_packet", &request.card_cryptogram_packet, cryptogram);
        let ip_address = fields.read("ip_address", &request.ip_address, ip_address);
        let (Some(account_id), Some(idempotency_key), Some(cryptogram), Some(ip_address)) =
            (account_id, idempotency_key, cryptogram, ip_address)
        else {
            return Err(fields.into());
        };
        let pay_debt = request.pay_debt;
        Ok(Self { account_id: account_id.into(), idempotency_key, cryptogram, ip_address, pay_debt })
    }
}

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

/// A sound request of a part of a list.
pub(crate) struct ListForm {
    pub(crate) account_id: AccountId,
    pub(crate) limit: i64,
    /// The last id of the page before.
    pub(crate) before: Option<Uuid>,
}

pub(crate) fn list(account_id: &str, page_size: i32, page_token: &str) -> Result<ListForm, ApiError> {
    let mut fields = Fields::default();
    let account_id = fields.read("account_id", account_id, uuid);
    let limit = fields.page_size(page_size);
    let before = fields.page_token(page_token);
    match account_id {
        Some(account_id) if fields.0.is_empty() => Ok(ListForm { account_id: account_id.into(), limit, before }),
        _ => Err(fields.into()),
    }
}

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

const NO_SUCH_PAGE: &str = "must be the next_page_token of the page before";

pub(crate) fn no_such_page() -> ApiError {
    ApiError::Invalid(vec![Violation { field: "page_token", rule: NO_SUCH_PAGE }])
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

pub(crate) fn bill_id(text: &str) -> Result<BillId, ApiError> {
    one("bill_id", text).map(BillId::from)
}

/// A sound `WatchEventsRequest`.
pub(crate) struct WatchEventsForm {
    pub(crate) token: Option<ResumeToken>,
    pub(crate) kinds: Vec<EventKind>,
}

pub(crate) fn watch_events(request: &proto::WatchEventsRequest) -> Result<WatchEventsForm, ApiError> {
    let mut fields = Fields::default();
    let token = fields.resume_token(&request.resume_token);
    let kinds = request.kinds.iter().map(|kind| convert::event_kind(*kind)).collect::<Option<Vec<_>>>();
    if kinds.is_none() {
        fields.broken("kinds", "must be kinds of this version other than EVENT_KIND_UNSPECIFIED");
    }
    if !fields.0.is_empty() {
        return Err(fields.into());
    }
    Ok(WatchEventsForm { token, kinds: kinds.unwrap_or_default() })
}

/// The token of a stream that goes on; `None` for one that begins.
pub(crate) fn resume_token(text: &str) -> Result<Option<ResumeToken>, ApiError> {
    let mut fields = Fields::default();
    let token = fields.resume_token(text);
    if fields.0.is_empty() { Ok(token) } else { Err(fields.into()) }
}

/// The accounts that are asked for in one call, each once.
pub(crate) fn account_ids(texts: &[String]) -> Result<Vec<AccountId>, ApiError> {
    let mut fields = Fields::default();
    if texts.is_empty() {
        fields.broken("account_ids", "is required");
    }
    if texts.len() > MAX_ACCOUNT_IDS {
        fields.broken("account_ids", "must not have more than 1000 entries");
        return Err(fields.into());
    }
    let ids: Vec<AccountId> = texts.iter().filter_map(|text| uuid(text).ok()).map(AccountId::from).collect();
    if ids.len() < texts.len() {
        fields.broken("account_ids", "must all be UUIDs like 018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a10");
    }
    if fields.0.is_empty() { Ok(ids) } else { Err(fields.into()) }
}

pub(crate) fn account_id(text: &str) -> Result<AccountId, ApiError> {
    one("account_id", text).map(AccountId::from)
}

pub(crate) fn payment_id(text: &str) -> Result<PaymentId, ApiError> {
    one("payment_id", text).map(PaymentId::from)
}

fn one(field: &'static str, text: &str) -> Result<Uuid, ApiError> {
    let mut fields = Fields::default();
    fields.read(field, text, uuid).ok_or_else(|| fields.into())
}

/// Reads fields and collects the rules they break.
#[derive(Default)]
struct Fields(Vec<Violation>);

impl Fields {
    fn read<T>(&mut self, field: &'static str, text: &str, rule: fn(&str) -> Result<T, &'static str>) -> Option<T> {
        let value = if text.is_empty() { Err("is required") } else { rule(text) };
        value.map_err(|rule| self.0.push(Violation { field, rule })).ok()
    }
}

impl Fields {
    fn broken(&mut self, field: &'static str, rule: &'static str) {
        self.0.push(Violation { field, rule });
    }

    /// An id that may be left out.
    fn maybe(&mut self, field: &'static str, text: &str) -> Option<Uuid> {
        if text.is_empty() { None } else { self.read(field, text, uuid) }
    }

    fn page_size(&mut self, page_size: i32) -> i64 {
        const DEFAULT_PAGE: i64 = 20;
        match page_size {
            0 => DEFAULT_PAGE,
            1..=100 => i64::from(page_size),
            _ => {
                self.broken("page_size", "must be from 1 to 100, or 0 for 20");
                0
            }
        }
    }

    /// The last id of the page before.
    fn page_token(&mut self, page_token: &str) -> Option<Uuid> {
        let before = if page_token.is_empty() { None } else { uuid(page_token).ok() };
        if !page_token.is_empty() && before.is_none() {
            self.broken("page_token", "must be the next_page_token of the page before");
        }
        before
    }

    /// Days of the gateway, the last included.
    fn days(&mut self, first: &str, last: &str) -> Option<(NaiveDate, NaiveDate)> {
        let day = |text: &str| text.parse::<NaiveDate>().map_err(|_| "must be a day like 2026-11-01");
        let (first, last) = (self.read("first_day", first, day), self.read("last_day", last, day));
        let (first, last) = (first?, last?);
        let days = (last - first).num_days();
        if !(0..MAX_DAYS).contains(&days) {
            self.broken("last_day", "must be the first day or one of the 365 after it");
            return None;
        }
        Some((first, last))
    }

    fn trial(&mut self, shown: &proto::Trial) -> Option<Trial> {
        let days = i32::try_from(shown.days).ok().filter(|days| (1..=Trial::MAX_DAYS).contains(days));
        if days.is_none() {
            self.broken("trial.days", "must be 1 to 366, as Tariff.trial has it");
        }
        let amount = Kopecks::new(shown.amount_kopecks);
        if !(Kopecks::ZERO..=Kopecks::MAX).contains(&amount) {
            self.broken("trial.amount_kopecks", "must be 0 to 100000000, as Tariff.trial has it");
        }
        let currency = shown.currency.parse();
        if currency.is_err() {
            self.broken("trial.currency", "must be three capital letters, as Tariff.trial has it");
        }
        Some(Trial { days: days?, amount, currency: currency.ok()? })
    }

    /// Empty is allowed, and means: none.
    fn resume_token(&mut self, text: &str) -> Option<ResumeToken> {
        if text.is_empty() {
            return None;
        }
        let token = text.parse();
        token.map_err(|_| self.broken("resume_token", "must be a token that this service gave, unchanged")).ok()
    }
}

impl From<Fields> for ApiError {
    fn from(fields: Fields) -> Self {
        Self::Invalid(fields.0)
    }
}

/// Only the hyphenated form: an id has one spelling, apart from the case of its letters.
fn uuid(text: &str) -> Result<Uuid, &'static str> {
    const RULE: &str = "must be a UUID like 018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a10";
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(RULE);
    }
    let id = Uuid::try_parse(text).map_err(|_| RULE)?;
    if id.is_nil() { Err("must not be the nil UUID") } else { Ok(id) }
}

fn reason(text: &str) -> Result<String, &'static str> {
    line(text, Ask::MAX_REASON).ok_or("must be 1 to 500 characters without control characters")
}

fn actor(text: &str) -> Result<String, &'static str> {
    line(text, 128).ok_or("must be 1 to 128 characters without control characters")
}

fn role(text: &str) -> Result<String, &'static str> {
    line(text, 64).ok_or("must be 1 to 64 characters without control characters")
}

fn line(text: &str, most: usize) -> Option<String> {
    let is_sound = text.chars().count() <= most && !text.chars().any(char::is_control);
    is_sound.then(|| text.to_owned())
}

fn cryptogram(text: &str) -> Result<SecretString, &'static str> {
    if text.len() > MAX_CRYPTOGRAM {
        return Err("must not be longer than 4096 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-_.".contains(&b)) {
        return Err("must be the base64 text that the checkout script made");
    }
    if looks_like_a_card_number(text) {
        return Err("must be the packet that the checkout script made, never a card number");
    }
    Ok(text.into())
}

/// The digits of a card number, with or without dashes, pass the check of ISO/IEC 7812-1. A packet may be digits only
/// too, but begins with 0, as no card's number does.
fn looks_like_a_card_number(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter(|c| *c != '-').map_while(|c| c.to_digit(10)).collect();
    let all = digits.len() == text.chars().filter(|c| *c != '-').count();
    let luhn = |(place, digit): (usize, &u32)| if place % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 };
    all && (12..=19).contains(&digits.len())
        && digits.first() != Some(&0)
        && digits.iter().rev().enumerate().map(luhn).sum::<u32>() % 10 == 0
}

fn ip_address(text: &str) -> Result<IpAddr, &'static str> {
    let address: IpAddr =
        text.parse().map_err(|_| "must be an IPv4 or IPv6 address like 203.0.113.7 or 2001:db8::7")?;
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("must be the address of the customer");
    }
    Ok(address)
}

fn idempotency_key(text: &str) -> Result<String, &'static str> {
    if text.len() > MAX_IDEMPOTENCY_KEY {
        return Err("must not be longer than 128 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be visible ASCII characters without spaces");
    }
    Ok(text.into())
}

/// `MD` as the gateway gave it: a positive decimal number of 64 bits.
fn transaction_id(text: &str) -> Result<i64, &'static str> {
    const RULE: &str = "must be the decimal number that came as MD";
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RULE);
    }
    text.parse().ok().filter(|id| *id > 0).ok_or(RULE)
}

/// Banks break the base64 of a PaRes into lines, so white space belongs to it.
fn pa_res(text: &str) -> Result<SecretString, &'static str> {
    if text.len() > MAX_PA_RES {
        return Err("must not be longer than 32768 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) {
        return Err("must be the ASCII text that the bank posted as PaRes");
    }
    if text.trim_ascii().is_empty() {
        return Err("is required");
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_hyphenated_uuid() {
        assert!(uuid("018F6A5E-7c1b-7b7e-9d3a-2f1f0c4f9a10").is_ok());
        for text in [
            "018f6a5e7c1b7b7e9d3a2f1f0c4f9a10",
            "{018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a10}",
            "urn:uuid:018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a10",
            "018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a1g",
            "00000000-0000-0000-0000-000000000000",
            "42",
            "é18f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a1",
        ] {
            assert!(uuid(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cryptogram_is_base64_and_no_card_number() {
        let longest = "A".repeat(MAX_CRYPTOGRAM);
        for text in [
            "01492500008719030128SMfLeYdKp5dSQVIiO5l6ZCJiPdel4uDjdFTTz1UnXY",
            "eyJUeXBl_-.+/==",
            "0142424242423012",
            &longest,
        ] {
            assert!(cryptogram(text).is_ok(), "{text}");
        }
        let too_long = "A".repeat(MAX_CRYPTOGRAM + 1);
        for text in ["a b", "a\n", "пакет", "4242424242424242", "4242-4242-4242-4242", "{\"pan\":1}", &too_long] {
            assert!(cryptogram(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_of_version_four_or_six_and_has_one_spelling() {
        for (text, address) in [
            ("203.0.113.7", "203.0.113.7"),
            ("127.0.0.1", "127.0.0.1"),
            ("2001:DB8::7", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(ip_address(text).map(|a| a.to_string()).as_deref(), Ok(address));
        }
        for text in [
            "203.0.113",
            "203.0.113.256",
            "203.0.113.7:80",
            "localhost",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1%eth0",
            "10.0.0.1/8",
            " 1.2.3.4",
        ] {
            assert!(ip_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        let longest = "k".repeat(MAX_IDEMPOTENCY_KEY);
        for text in ["1", "018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a10", "a:b/c~", &longest] {
            assert!(idempotency_key(text).is_ok(), "{text}");
        }
        let too_long = "k".repeat(MAX_IDEMPOTENCY_KEY + 1);
        for text in [" ", "a b", "a\0", "ключ", "a\n", &too_long] {
            assert!(idempotency_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn md_is_a_positive_decimal_number_of_64_bits() {
        assert_eq!(transaction_id("504"), Ok(504));
        assert_eq!(transaction_id("9223372036854775807"), Ok(i64::MAX));
        for text in ["0", "-1", "+1", "1.0", "1e3", "0x10", " 1", "9223372036854775808", "١٢"] {
            assert!(transaction_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pa_res_is_ascii_and_may_be_broken_into_lines() {
        let longest = "A".repeat(MAX_PA_RES);
        for text in ["eJzVWNmSo8iS", "eJzV\r\nWNmS\r\n", &longest] {
            assert!(pa_res(text).is_ok(), "{text}");
        }
        let too_long = "A".repeat(MAX_PA_RES + 1);
        for text in [" \r\n", "\u{1}", "ответ", &too_long] {
            assert!(pa_res(text).is_err(), "{text}");
        }
    }
}
