//! Subscriptions on the wire.

use chrono::{DateTime, FixedOffset, Utc};
use serde::Serialize;

use super::{
    dates::{DotNetDate, IsoDate},
    look::moment,
    params::{BadRequest, Params},
    request::currency,
};
use crate::{
    ledger::{
        receipt,
        subscription::{Interval, Patch, Subscription, SubscriptionId, Terms},
        transaction::Token,
    },
    money::Roubles,
};

/// Longest period: a century of months, and more than anybody subscribes for.
const MAX_PERIOD: u32 = 1200;

pub(super) fn id(params: &Params) -> Result<SubscriptionId, BadRequest> {
    params.required("Id").map(|id| SubscriptionId(id.to_owned()))
}

/// In the order of the documentation's table. `strict` also asks for `RequireConfirmation`, which one known client
/// misspells.
pub(super) fn terms(params: &Params, strict: bool) -> Result<Terms, BadRequest> {
    Ok(Terms {
        token: Token(params.required("Token")?.to_owned()),
        account_id: params.required("AccountId")?.to_owned(),
        description: params.required("Description")?.to_owned(),
        email: params.owned("Email")?,
        amount: params.amount("Amount")?,
        currency: currency(params)?.ok_or_else(|| BadRequest::about("Currency", "is required"))?,
        two_stage: match params.boolean("RequireConfirmation")? {
            None if strict => return Err(BadRequest::about("RequireConfirmation", "is required")),
            given => given.unwrap_or(false),
        },
        start: start(params)?.ok_or_else(|| BadRequest::about("StartDate", "is required"))?,
        interval: interval(params)?.ok_or_else(|| BadRequest::about("Interval", "is required"))?,
        period: count(params, "Period")?.ok_or_else(|| BadRequest::about("Period", "is required"))?,
        max_periods: count(params, "MaxPeriods")?,
        culture: params.owned("CultureName")?.unwrap_or_else(|| "ru-RU".to_owned()),
        receipt: customer_receipt(params)?,
    })
}

pub(super) fn patch(params: &Params) -> Result<Patch, BadRequest> {
    Ok(Patch {
        description: params.owned("Description")?,
        amount: params.text("Amount")?.map(|_| params.amount("Amount")).transpose()?,
        currency: currency(params)?,
        two_stage: params.boolean("RequireConfirmation")?,
        start: start(params)?,
        interval: interval(params)?,
        period: count(params, "Period")?,
        max_periods: count(params, "MaxPeriods")?,
        culture: params.owned("CultureName")?,
        receipt: customer_receipt(params)?,
    })
}

/// A date, UTC unless it says otherwise. One client sends seconds since the epoch.
fn start(params: &Params) -> Result<Option<DateTime<Utc>>, BadRequest> {
    let utc = FixedOffset::east_opt(0).expect("UTC is an offset");
    match params.text("StartDate")? {
        None => Ok(None),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let seconds = text.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            seconds.map(Some).ok_or_else(|| BadRequest::about("StartDate", "is invalid"))
        }
        Some(_) => moment(params, "StartDate", utc).map(Some),
    }
}

fn interval(params: &Params) -> Result<Option<Interval>, BadRequest> {
    let parse = |name| Interval::parse(name).ok_or_else(|| BadRequest::about("Interval", "must be Day, Week or Month"));
    params.text("Interval")?.map(parse).transpose()
}

fn count(params: &Params, field: &str) -> Result<Option<u32>, BadRequest> {
    let check = |number| match u32::try_from(number) {
        Ok(number @ 1..=MAX_PERIOD) => Ok(number),
        _ => Err(BadRequest::about(field, format_args!("must be from 1 to {MAX_PERIOD}"))),
    };
    params.integer(field)?.map(check).transpose()
}

fn customer_receipt(params: &Params) -> Result<Option<String>, BadRequest> {
    let Some(text) = params.json("CustomerReceipt") else { return Ok(None) };
    let json = serde_json::from_str(&text).map_err(|_| BadRequest::about("CustomerReceipt", "is invalid"))?;
    receipt::read(&json).map_err(BadRequest)?;
    Ok(Some(text))
}

/// A subscription as the gateway shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Model<'a> {
    id: &'a str,
    account_id: &'a str,
    description: &'a str,
    email: Option<&'a str>,
    amount: Roubles,
    currency_code: usize,
    currency: &'a str,
    require_confirmation: bool,
    start_date: DotNetDate,
    start_date_iso: IsoDate,
    interval_code: u8,
    interval: &'a str,
    period: u32,
    max_periods: Option<u32>,
    culture_name: &'a str,
    status_code: u8,
    status: &'a str,
    successful_transactions_number: u32,
    failed_transactions_number: u32,
    last_transaction_date: Option<DotNetDate>,
    last_transaction_date_iso: Option<IsoDate>,
    next_transaction_date: Option<DotNetDate>,
    next_transaction_date_iso: Option<IsoDate>,
    receipt: Option<serde_json::Value>,
    failover_scheme_id: (),
}

impl<'a> From<&'a Subscription> for Model<'a> {
    fn from(subscription: &'a Subscription) -> Self {
        let terms = &subscription.terms;
        Self {
            id: &subscription.id.0,
            account_id: &terms.account_id,
            description: &terms.description,
            email: terms.email.as_deref(),
            amount: Roubles(terms.amount),
            currency_code: terms.currency.code(),
            currency: terms.currency.as_str(),
            require_confirmation: terms.two_stage,
            start_date: DotNetDate(terms.start),
            start_date_iso: IsoDate(terms.start),
            interval_code: terms.interval.code(),
            interval: terms.interval.name(),
            period: terms.period,
            max_periods: terms.max_periods,
            culture_name: &terms.culture,
            status_code: subscription.status.code(),
            status: subscription.status.name(),
            successful_transactions_number: subscription.successful,
            failed_transactions_number: subscription.failed,
            last_transaction_date: subscription.last_at.map(DotNetDate),
            last_transaction_date_iso: subscription.last_at.map(IsoDate),
            next_transaction_date: subscription.next_at.map(DotNetDate),
            next_transaction_date_iso: subscription.next_at.map(IsoDate),
            receipt: terms.receipt.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            failover_scheme_id: (),
        }
    }
}
