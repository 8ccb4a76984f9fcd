//! From parameters to commands and queries, by the tables of the gateway's documentation. Fields are checked in the
//! order of those tables, so that of several missing ones the same is named first.

use std::net::IpAddr;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, Utc};
use uuid::Uuid;

use super::{
    params::{BadRequest, Params},
    zones,
};
use crate::{
    cryptogram::Packet,
    ledger::{
        command::{CardCharge, Command, FindScope, ListQuery, PaRes, Page, Period, Query, TokenCharge},
        transaction::{Purpose, Status, Token, TransactionId},
    },
    money::Currency,
};

/// A method of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Test,
    CardsCharge,
    CardsAuth,
    PostThreeDs,
    TokensCharge,
    TokensAuth,
    Confirm,
    Void,
    Refund,
    Get,
    FindV1,
    FindV2,
    ListV1,
    ListV2,
    TokensList,
}

/// A readable request.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Command(Box<Command>),
    Query(Query),
}

impl Endpoint {
    pub(crate) const ALL: [(&'static str, Self); 15] = [
        ("/test", Self::Test),
        ("/payments/cards/charge", Self::CardsCharge),
        ("/payments/cards/auth", Self::CardsAuth),
        ("/payments/cards/post3ds", Self::PostThreeDs),
        ("/payments/tokens/charge", Self::TokensCharge),
        ("/payments/tokens/auth", Self::TokensAuth),
        ("/payments/confirm", Self::Confirm),
        ("/payments/void", Self::Void),
        ("/payments/refund", Self::Refund),
        ("/payments/get", Self::Get),
        ("/payments/find", Self::FindV1),
        ("/v2/payments/find", Self::FindV2),
        ("/payments/list", Self::ListV1),
        ("/v2/payments/list", Self::ListV2),
        ("/payments/tokens/list", Self::TokensList),
    ];

    /// Does it only look? Such a request needs no `X-Request-ID`, and one it has is not heeded.
    pub(crate) fn only_looks(self) -> bool {
        match self {
            Self::Get | Self::FindV1 | Self::FindV2 | Self::ListV1 | Self::ListV2 | Self::TokensList => true,
            Self::Test | Self::CardsCharge | Self::CardsAuth | Self::PostThreeDs | Self::TokensCharge => false,
            Self::TokensAuth | Self::Confirm | Self::Void | Self::Refund => false,
        }
    }

    /// Reads a request. `strict` asks for what the documentation requires since 2023 but old clients do not send.
    pub(crate) fn read(self, params: &Params, strict: bool) -> Result<Request, BadRequest> {
        let id = || transaction_id(params);
        Ok(match self {
            Self::Test => command(Command::Ping(Uuid::new_v4())),
            Self::CardsCharge | Self::CardsAuth => {
                command(Command::ChargeCard(card_charge(params, self == Self::CardsAuth)?))
            }
            Self::TokensCharge | Self::TokensAuth => {
                command(Command::ChargeToken(token_charge(params, self == Self::TokensAuth, strict)?))
            }
            Self::PostThreeDs => {
                let id = id()?;
                let pa_res = PaRes(params.required("PaRes")?.to_owned());
                command(Command::PostThreeDs { id, pa_res })
            }
            Self::Confirm => command(Command::Confirm { id: id()?, amount: params.amount("Amount")? }),
            Self::Void => command(Command::Void { id: id()? }),
            Self::Refund => command(Command::Refund {
                id: id()?,
                amount: params.amount("Amount")?,
                json_data: params.json("JsonData"),
            }),
            Self::Get => Request::Query(Query::Get { id: id()? }),
            Self::FindV1 => find(params, FindScope::Payments)?,
            Self::FindV2 => find(params, FindScope::AllOperations)?,
            Self::ListV1 => Request::Query(Query::List(list_of_day(params)?)),
            Self::ListV2 => Request::Query(Query::List(list_of_period(params)?)),
            // Documented as required; known clients send nothing.
            Self::TokensList => Request::Query(Query::Tokens { page: page(params)?.unwrap_or(Page(1)) }),
        })
    }
}

fn command(command: Command) -> Request {
    Request::Command(Box::new(command))
}

/// The transaction a request is about, if it names one.
pub(crate) fn transaction_id(params: &Params) -> Result<TransactionId, BadRequest> {
    let id = params.integer("TransactionId")?;
    id.map(TransactionId).ok_or_else(|| BadRequest::about("TransactionId", "is required"))
}

fn card_charge(params: &Params, two_stage: bool) -> Result<CardCharge, BadRequest> {
    let mut purpose = purpose(params, two_stage)?;
    params.required("IpAddress")?;
    let packet =
        Packet::parse(params.required("CardCryptogramPacket")?).map_err(|error| BadRequest(error.to_string()))?;
    purpose.account_id = params.owned("AccountId")?;
    Ok(CardCharge {
        purpose,
        packet,
        holder_name: params.owned("Name")?,
        save_card: params.boolean("SaveCard")?.unwrap_or(true),
        checked: None,
    })
}

fn token_charge(params: &Params, two_stage: bool, strict: bool) -> Result<TokenCharge, BadRequest> {
    let mut purpose = purpose(params, two_stage)?;
    purpose.account_id = Some(params.required("AccountId")?.to_owned());
    let initiator = params.integer("TrInitiatorCode")?;
    let scheduled = params.integer("PaymentScheduled")?;
    match (initiator, scheduled) {
        (None, _) if strict => return Err(BadRequest::about("TrInitiatorCode", "is required")),
        (Some(0), None) if strict => return Err(BadRequest::about("PaymentScheduled", "is required")),
        (Some(code), _) if !(0..=1).contains(&code) => return Err(BadRequest::about("TrInitiatorCode", "is invalid")),
        (_, Some(code)) if !(0..=1).contains(&code) => return Err(BadRequest::about("PaymentScheduled", "is invalid")),
        _ => {}
    }
    let token = Token(params.required("Token")?.to_owned());
    Ok(TokenCharge { purpose, token, initiator, checked: None })
}

/// What card and token charges share. `AccountId` is left to them: one of them requires it, later in its table.
fn purpose(params: &Params, two_stage: bool) -> Result<Purpose, BadRequest> {
    let amount = params.amount("Amount")?;
    let currency = match params.text("Currency")? {
        Some(code) => Currency::parse(code).ok_or_else(|| BadRequest::about("Currency", "is invalid"))?,
        None => Currency::RUB,
    };
    let ip_address = params.owned("IpAddress")?;
    if ip_address.as_ref().is_some_and(|ip| ip.parse::<IpAddr>().is_err()) {
        return Err(BadRequest::about("IpAddress", "is invalid"));
    }
    Ok(Purpose {
        amount,
        currency,
        invoice_id: params.owned("InvoiceId")?,
        account_id: None,
        email: params.owned("Email")?,
        description: params.owned("Description")?,
        json_data: params.json("JsonData"),
        ip_address,
        culture: params.owned("CultureName")?.unwrap_or_else(|| "ru-RU".to_owned()),
        two_stage,
    })
}

fn find(params: &Params, scope: FindScope) -> Result<Request, BadRequest> {
    Ok(Request::Query(Query::Find { invoice_id: params.required("InvoiceId")?.to_owned(), scope }))
}

fn list_of_day(params: &Params) -> Result<ListQuery, BadRequest> {
    let date = params.required("Date")?;
    // Some clients send a moment; its day is meant.
    let date = date.get(..10).unwrap_or(date);
    let date: NaiveDate = date.parse().map_err(|_| BadRequest::about("Date", "is invalid"))?;
    let period = Period::day(date, zone(params)?).ok_or_else(|| BadRequest::about("Date", "is invalid"))?;
    Ok(ListQuery { period, statuses: Vec::new(), page: None })
}

fn list_of_period(params: &Params) -> Result<ListQuery, BadRequest> {
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
fn moment(params: &Params, field: &str, zone: FixedOffset) -> Result<DateTime<Utc>, BadRequest> {
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

fn page(params: &Params) -> Result<Option<Page>, BadRequest> {
    match params.integer("PageNumber")? {
        None => Ok(None),
        Some(number) => match usize::try_from(number) {
            Ok(number) if number >= 1 => Ok(Some(Page(number))),
            _ => Err(BadRequest::about("PageNumber", "is invalid")),
        },
    }
}
