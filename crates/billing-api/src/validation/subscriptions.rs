//! The verbs of a subscription, and what is asked about an account.

use std::net::IpAddr;

use billing::{AccountId, BillId, Kopecks, TariffId};
use secrecy::SecretString;
use uuid::Uuid;

use super::fields::{Fields, one};
use super::rules::{cryptogram, idempotency_key, ip_address, uuid};
use crate::error::ApiError;
use crate::proto;

const MAX_ACCOUNT_IDS: usize = 1_000;

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

pub(crate) fn bill_id(text: &str) -> Result<BillId, ApiError> {
    one("bill_id", text).map(BillId::from)
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
