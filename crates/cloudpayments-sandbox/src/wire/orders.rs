//! Orders, receipts, payouts, chargebacks and settings of notifications on the wire.

use serde::Serialize;
use serde_json::Value;

use super::{
    dates::{DotNetDate, IsoDate},
    params::{BadRequest, Params},
    request::{currency, purpose},
};
use crate::{
    cryptogram::Packet,
    ledger::{
        Chargeback,
        command::{Payout, PayoutTo},
        order::{Offer, Order, OrderId},
        receipt::{self, Receipt, ReceiptId, ReceiptKind},
        subscription::Interval,
        transaction::{Token, TransactionId},
    },
    money::{Currency, Roubles},
    notification::{
        Kind,
        settings::{self, Encoding, Format, Method, Settings},
    },
};

pub(super) fn offer(params: &Params) -> Result<Offer, BadRequest> {
    let subscribes = match params.text("SubscriptionBehavior")? {
        None => None,
        Some(text) if text.eq_ignore_ascii_case("CreateWeekly") => Some(Interval::Week),
        Some(text) if text.eq_ignore_ascii_case("CreateMonthly") => Some(Interval::Month),
        Some(_) => return Err(BadRequest::about("SubscriptionBehavior", "must be CreateWeekly or CreateMonthly")),
    };
    Ok(Offer {
        amount: params.amount("Amount")?,
        currency: currency(params)?.unwrap_or(Currency::RUB),
        description: params.required("Description")?.to_owned(),
        email: params.owned("Email")?,
        phone: params.owned("Phone")?,
        two_stage: params.boolean("RequireConfirmation")?.unwrap_or(false),
        invoice_id: params.owned("InvoiceId")?,
        account_id: params.owned("AccountId")?,
        culture: params.owned("CultureName")?.unwrap_or_else(|| "ru-RU".to_owned()),
        subscribes,
        success_url: web_address(params, "SuccessRedirectUrl")?,
        fail_url: web_address(params, "FailRedirectUrl")?,
        json_data: params.json("JsonData"),
    })
}

fn web_address(params: &Params, field: &str) -> Result<Option<String>, BadRequest> {
    params.text(field)?.map(|text| settings::address(text).map_err(|what| BadRequest::about(field, what))).transpose()
}

pub(super) fn order_id(params: &Params) -> Result<OrderId, BadRequest> {
    params.required("Id").map(|id| OrderId(id.to_owned()))
}

pub(super) fn order(order: &Order, base_url: &str) -> impl Serialize {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Model {
        id: String,
        number: u64,
        amount: Roubles,
        currency: &'static str,
        currency_code: usize,
        email: Option<String>,
        phone: Option<String>,
        description: String,
        require_confirmation: bool,
        url: String,
        culture_name: String,
        created_date: DotNetDate,
        created_date_iso: IsoDate,
        payment_date: Option<DotNetDate>,
        payment_date_iso: Option<IsoDate>,
        status_code: u8,
        status: &'static str,
        internal_id: u64,
    }
    let offer = order.offer.clone();
    Model {
        id: order.id.0.clone(),
        number: order.number,
        amount: Roubles(offer.amount),
        currency: offer.currency.as_str(),
        currency_code: offer.currency.code(),
        email: offer.email,
        phone: offer.phone,
        description: offer.description,
        require_confirmation: offer.two_stage,
        url: format!("{base_url}/d/{}", order.id.0),
        culture_name: offer.culture,
        created_date: DotNetDate(order.created_at),
        created_date_iso: IsoDate(order.created_at),
        payment_date: order.paid_at.map(DotNetDate),
        payment_date_iso: order.paid_at.map(IsoDate),
        status_code: order.status.code(),
        status: order.status.name(),
        internal_id: order.number,
    }
}

pub(super) fn receipt_order(params: &Params) -> Result<receipt::Order, BadRequest> {
    let inn = params.required("Inn")?;
    if !matches!(inn.len(), 10 | 12) || !inn.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadRequest::about("Inn", "must have 10 or 12 digits"));
    }
    let kind = ReceiptKind::parse(params.required("Type")?);
    let kind =
        kind.ok_or_else(|| BadRequest::about("Type", "must be Income, IncomeReturn, Expense or ExpenseReturn"))?;
    let text = params.json("CustomerReceipt").ok_or_else(|| BadRequest::about("CustomerReceipt", "is required"))?;
    let asked = serde_json::from_str(&text).map_err(|_| BadRequest::about("CustomerReceipt", "is invalid"))?;
    let (content, amount) = receipt::read(&asked).map_err(BadRequest)?;
    Ok(receipt::Order {
        inn: inn.to_owned(),
        kind,
        invoice_id: params.owned("InvoiceId")?,
        account_id: params.owned("AccountId")?,
        transaction_id: params.integer("TransactionId")?.map(TransactionId),
        content,
        amount,
    })
}

pub(super) fn receipt_id(params: &Params) -> Result<ReceiptId, BadRequest> {
    params.required("Id").map(|id| ReceiptId(id.to_owned()))
}

/// A receipt as `/kkt/receipt/get` shows it: what was asked for and, when it is printed, what the register added.
pub(super) fn receipt(receipt: &Receipt, base_url: &str) -> Value {
    let mut model = receipt.order.content.clone();
    let fiscal: Vec<_> = receipt.fiscal(base_url);
    let mut additional: serde_json::Map<_, _> = fiscal
        .into_iter()
        .map(|field| {
            let bare = field.bare.then(|| serde_json::from_str(&field.value).ok()).flatten();
            (field.name, bare.unwrap_or(Value::String(field.value)))
        })
        .collect();
    additional.insert("Type".to_owned(), receipt.order.kind.name().into());
    model["AdditionalData"] = Value::Object(additional);
    model
}

pub(super) fn payout(params: &Params, by: PayoutBy) -> Result<Payout, BadRequest> {
    let to = match (by, params.text("Token")?, params.text("CardCryptogramPacket")?) {
        (PayoutBy::Phone, ..) => {
            let receiver: Option<Value> =
                params.json("Receiver").and_then(|receiver| serde_json::from_str(&receiver).ok());
            let phone = receiver.as_ref().and_then(|receiver| receiver.get("Phone")).and_then(Value::as_str);
            if phone.is_none_or(str::is_empty) {
                return Err(BadRequest::about("Receiver.Phone", "is required"));
            }
            PayoutTo::Phone
        }
        // Two known clients send a token to the method for cards.
        (PayoutBy::Token, ..) | (PayoutBy::Card, Some(_), None) => {
            PayoutTo::Token(Token(params.required("Token")?.to_owned()))
        }
        (PayoutBy::Card, ..) => {
            params.amount("Amount")?;
            let packet = Packet::parse(params.required("CardCryptogramPacket")?);
            PayoutTo::Card(packet.map_err(|error| BadRequest(error.to_string()))?)
        }
    };
    let mut purpose = purpose(params, false)?;
    if params.text("Currency")?.is_none() {
        return Err(BadRequest::about("Currency", "is required"));
    }
    purpose.account_id = match by {
        PayoutBy::Token => Some(params.required("AccountId")?.to_owned()),
        _ => params.owned("AccountId")?,
    };
    Ok(Payout { purpose, to, holder_name: params.owned("Name")?, receiver: params.json("Receiver") })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PayoutBy {
    Card,
    Token,
    Phone,
}

pub(super) fn chargeback<'a>(it: &'a Chargeback, base_url: &'a str) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Model<'a> {
        charge_back_id: &'a str,
        terminal_url: &'a str,
        transaction_id: TransactionId,
        amount: Roubles,
        currency: &'a str,
        #[serde(rename = "Type")]
        kind: &'a str,
        operation: &'a str,
        card: &'a str,
        gateway: &'a str,
        date: DotNetDate,
    }
    Model {
        charge_back_id: &it.id,
        terminal_url: base_url,
        transaction_id: it.transaction_id,
        amount: Roubles(it.amount),
        currency: it.currency.as_str(),
        kind: "Chargeback",
        operation: "Presentment",
        card: &it.card,
        gateway: "Test",
        date: DotNetDate(it.at),
    }
}

/// `{Type}` of the path.
pub(super) fn notification_kind(params: &Params) -> Result<Kind, BadRequest> {
    Kind::parse(params.required("Type")?).ok_or_else(|| BadRequest::about("Type", "is invalid"))
}

/// What an update leaves out becomes what the documentation has as its default.
pub(super) fn notification_settings(params: &Params) -> Result<Settings, BadRequest> {
    fn choice<T>(params: &Params, field: &str, parse: fn(&str) -> Option<T>, default: T) -> Result<T, BadRequest> {
        match params.text(field)? {
            None => Ok(default),
            Some(text) => parse(text).ok_or_else(|| BadRequest::about(field, format_args!("{text:?} is not emulated"))),
        }
    }
    let is_enabled = params.boolean("IsEnabled")?.unwrap_or(false);
    let address = web_address(params, "Address")?;
    if is_enabled && address.is_none() {
        return Err(BadRequest::about("Address", "is required"));
    }
    Ok(Settings {
        is_enabled,
        address,
        http_method: choice(params, "HttpMethod", Method::parse, Method::Get)?,
        encoding: choice(params, "Encoding", Encoding::parse, Encoding::Utf8)?,
        format: choice(params, "Format", Format::parse, Format::CloudPayments)?,
    })
}
