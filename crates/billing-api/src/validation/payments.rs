//! Payments, and where a customer comes back from 3-D Secure.

use std::net::IpAddr;

use billing::models::Trial;
use billing::{AccountId, PaymentId, TariffId};
use secrecy::SecretString;

use super::fields::{Fields, one};
use super::rules::{cryptogram, idempotency_key, ip_address, pa_res, transaction_id, uuid};
use crate::error::ApiError;
use crate::proto;

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

pub(crate) fn payment_id(text: &str) -> Result<PaymentId, ApiError> {
    one("payment_id", text).map(PaymentId::from)
}
