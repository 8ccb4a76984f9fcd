//! What is looked up: by id, by day, by period, page by page.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, Utc};

use super::{
    params::{BadRequest, Params},
    zones,
};
use crate::ledger::{
    command::{FindScope, ListQuery, Page, Period, Query},
    transaction::Status,
};

/// A year at most, as the documentation has it.
pub(super) fn chargebacks(params: &Params) -> Result<Query, BadRequest> {
    let utc = zone(params)?;
    let period = Period { from: moment(params, "CreatedDateGte", utc)?, to: moment(params, "CreatedDateLte", utc)? };
    if period.to - period.from > chrono::TimeDelta::days(366) {
        return Err(BadRequest::about("CreatedDateLte", "must be within a year of CreatedDateGte"));
    }
    let page = page(params)?.ok_or_else(|| BadRequest::about("PageNumber", "is required"))?;
    Ok(Query::Chargebacks { period, page })
}

pub(super) fn apple_pay(params: &Params) -> Result<Query, BadRequest> {
    let address = params.text("PaymentUrl")?.map_or_else(|| params.required("ValidationUrl"), Ok)?;
    params.required("ValidationUrl")?;
    let url = url::Url::parse(address).ok();
    let domain = url.as_ref().and_then(url::Url::host_str).map(str::to_owned);
    Ok(Query::ApplePay { domain: domain.ok_or_else(|| BadRequest::about("PaymentUrl", "is invalid"))? })
}

pub(super) fn find(params: &Params, scope: FindScope) -> Result<Query, BadRequest> {
    Ok(Query::Find { invoice_id: params.required("InvoiceId")?.to_owned(), scope })
}

pub(super) fn list_of_day(params: &Params) -> Result<ListQuery, BadRequest> {
    let date = params.required("Date")?;
    // Some clients send a moment; its day is meant.
    let date = date.get(..10).unwrap_or(date);
    let date: NaiveDate = date.parse().map_err(|_| BadRequest::about("Date", "is invalid"))?;
    let period = Period::day(date, zone(params)?).ok_or_else(|| BadRequest::about("Date", "is invalid"))?;
    Ok(ListQuery { period, statuses: Vec::new(), page: None })
}

pub(super) fn list_of_period(params: &Params) -> Result<ListQuery, BadRequest> {
    let zone = zone(params)?;
    let from = moment(params, "CreatedDateGte", zone)?;
    let to = moment(params, "CreatedDateLte", zone)?;
    let page = page(params)?.ok_or_else(|| BadRequest::about("PageNumber", "is required"))?;
    let statuses = params
        .list("Statuses")?
        .iter()
        .map(|name| Status::parse(name).ok_or_else(|| BadRequest::about("Statuses", "is invalid")))
        .collect::<Result<_, _>>()?;
    Ok(ListQuery { period: Period { from, to }, statuses, page: Some(page) })
}

/// A moment with its offset, or a local one of the request's time zone, or midnight of a date there.
pub(super) fn moment(params: &Params, field: &str, zone: FixedOffset) -> Result<DateTime<Utc>, BadRequest> {
    let text = params.required(field)?;
    // In a form an unescaped `+03:00` arrives as ` 03:00`.
    let with_plus = text.replace(' ', "+");
    if let Ok(moment) = DateTime::parse_from_rfc3339(&with_plus) {
        return Ok(moment.to_utc());
    }
    let local = text
        .parse::<NaiveDateTime>()
        .or_else(|_| text.parse::<NaiveDate>().map(|date| date.and_time(chrono::NaiveTime::MIN)));
    let local = local.ok().and_then(|local| local.and_local_timezone(zone).single());
    local.map(|moment| moment.to_utc()).ok_or_else(|| BadRequest::about(field, "is invalid"))
}

fn zone(params: &Params) -> Result<FixedOffset, BadRequest> {
    let code = params.text("TimeZone")?.unwrap_or("UTC");
    zones::zone(code).ok_or_else(|| BadRequest::about("TimeZone", "is invalid"))
}

pub(super) fn page(params: &Params) -> Result<Option<Page>, BadRequest> {
    match params.integer("PageNumber")? {
        None => Ok(None),
        Some(number) => match usize::try_from(number) {
            Ok(number) if number >= 1 => Ok(Some(Page(number))),
            _ => Err(BadRequest::about("PageNumber", "is invalid")),
        },
    }
}
