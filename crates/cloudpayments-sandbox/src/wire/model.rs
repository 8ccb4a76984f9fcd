//! The transaction model with every field of the documentation's examples. The sandbox has no bank, and no
//! GeoIP: those fields hold what the examples show for a local address and a test terminal.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    answer::Terminal,
    dates::{DotNetDate, IsoDate},
};
use crate::{
    cards::Brand,
    ledger::{
        payout,
        transaction::{Kind, Transaction, TransactionId},
    },
    money::{Amount, Roubles},
    reason::Reason,
};

/// Always `null`.
type Null = ();

/// A transaction as charges, `get` and `find` show it; with `list`, as lists do.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Model<'a> {
    reason_code: Option<u16>,
    public_id: &'a str,
    terminal_url: &'a str,
    transaction_id: TransactionId,
    amount: Roubles,
    currency: &'a str,
    currency_code: usize,
    payment_amount: Roubles,
    payment_currency: &'a str,
    payment_currency_code: usize,
    invoice_id: Option<&'a str>,
    account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tr_initiator_code: Option<i64>,
    email: Option<&'a str>,
    description: Option<&'a str>,
    json_data: Option<&'a str>,
    created_date: DotNetDate,
    payout_date: Option<DotNetDate>,
    payout_date_iso: Option<IsoDate>,
    payout_amount: Option<Roubles>,
    created_date_iso: IsoDate,
    auth_date: Option<DotNetDate>,
    auth_date_iso: Option<IsoDate>,
    confirm_date: Option<DotNetDate>,
    confirm_date_iso: Option<IsoDate>,
    auth_code: Option<&'a str>,
    test_mode: bool,
    rrn: Null,
    original_transaction_id: Option<TransactionId>,
    fall_back_scenario_declined_transaction_id: Null,
    ip_address: Option<&'a str>,
    ip_country: &'a str,
    ip_city: Null,
    ip_region: Null,
    ip_district: Null,
    ip_latitude: Null,
    ip_longitude: Null,
    card_first_six: Option<&'a str>,
    card_last_four: Option<&'a str>,
    card_exp_date: Option<String>,
    card_type: Option<&'a str>,
    card_product: Null,
    card_category: Null,
    escrow_accumulation_id: Null,
    issuer_bank_country: Option<&'a str>,
    issuer: Option<&'a str>,
    card_type_code: Option<u8>,
    status: &'a str,
    status_code: u8,
    culture_name: &'a str,
    reason: Option<&'a str>,
    card_holder_message: Option<&'a str>,
    #[serde(rename = "Type")]
    kind: u8,
    refunded: bool,
    name: Option<&'a str>,
    token: Option<&'a str>,
    subscription_id: Option<&'a str>,
    gateway_name: &'a str,
    android_pay: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_type: Option<&'a str>,
    total_fee: Roubles,
    vat_above_total_fee: u8,
    processor_and_partner_fee: u8,
    vat_within_processor_fee: u8,
    /// Whom a payout is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<serde_json::Value>,
    #[serde(flatten)]
    list: Option<ListFields>,
}

/// What lists add to the model (in which they leave `WalletType` out).
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListFields {
    is_local_order: bool,
    hide_invoice_id: bool,
    gateway: u8,
    master_pass: bool,
}

impl<'a> Model<'a> {
    pub(super) fn new(transaction: &'a Transaction, terminal: &'a Terminal, now: DateTime<Utc>) -> Self {
        let purpose = &transaction.purpose;
        let (currency, currency_code) = (purpose.currency.as_str(), purpose.currency.code());
        let card = transaction.card.as_ref();
        let brand = card.and_then(|card| Brand::of(&card.first_six));
        let status = transaction.status(now);
        let paid_out = terminal.fee.and_then(|rate| payout::paid_out(rate, transaction, now));
        Self {
            reason_code: transaction.reason.map(Reason::code),
            public_id: &terminal.public_id,
            terminal_url: &terminal.base_url,
            transaction_id: transaction.id,
            amount: Roubles(purpose.amount),
            currency,
            currency_code,
            payment_amount: Roubles(purpose.amount),
            payment_currency: currency,
            payment_currency_code: currency_code,
            invoice_id: purpose.invoice_id.as_deref(),
            account_id: purpose.account_id.as_deref(),
            tr_initiator_code: transaction.initiator,
            email: purpose.email.as_deref(),
            description: purpose.description.as_deref(),
            json_data: purpose.json_data.as_deref(),
            created_date: DotNetDate(transaction.created_at),
            payout_date: paid_out.map(|paid_out| DotNetDate(paid_out.at)),
            payout_date_iso: paid_out.map(|paid_out| IsoDate(paid_out.at)),
            payout_amount: paid_out.map(|paid_out| Roubles(paid_out.amount)),
            created_date_iso: IsoDate(transaction.created_at),
            auth_date: transaction.authorized_at.map(DotNetDate),
            auth_date_iso: transaction.authorized_at.map(IsoDate),
            confirm_date: transaction.confirmed_at.map(DotNetDate),
            confirm_date_iso: transaction.confirmed_at.map(IsoDate),
            // The test terminal of the real gateway says this for everybody too.
            auth_code: transaction.authorized_at.map(|_| "A1B2C3"),
            test_mode: true,
            rrn: (),
            original_transaction_id: transaction.original_id,
            fall_back_scenario_declined_transaction_id: (),
            ip_address: purpose.ip_address.as_deref(),
            ip_country: "",
            ip_city: (),
            ip_region: (),
            ip_district: (),
            ip_latitude: (),
            ip_longitude: (),
            card_first_six: card.map(|card| card.first_six.as_str()),
            card_last_four: card.map(|card| card.last_four.as_str()),
            card_exp_date: card.map(|card| card.expiry.month_year()),
            card_type: brand.map(Brand::name),
            card_product: (),
            card_category: (),
            escrow_accumulation_id: (),
            issuer_bank_country: card.map(|_| "RU"),
            issuer: card.map(|_| "CloudPayments"),
            card_type_code: brand.map(Brand::code),
            status: status.name(),
            status_code: status.code(),
            culture_name: &purpose.culture,
            reason: transaction.reason.map(Reason::name),
            card_holder_message: transaction.reason.map(|reason| reason.cardholder_message(&purpose.culture)),
            kind: transaction.kind.code(),
            refunded: transaction.kind == Kind::Payment && transaction.is_refunded(),
            name: transaction.holder_name.as_deref(),
            token: transaction.token.as_ref().map(|token| token.0.as_str()),
            subscription_id: transaction.subscription_id.as_deref(),
            gateway_name: "Test",
            android_pay: false,
            wallet_type: Some(""),
            total_fee: terminal.fee.map_or(Roubles(Amount::ZERO), |rate| Roubles(payout::fee(rate, transaction, now))),
            vat_above_total_fee: 0,
            processor_and_partner_fee: 0,
            vat_within_processor_fee: 0,
            receiver: transaction.receiver.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            list: None,
        }
    }

    /// The same in a list.
    pub(super) fn in_list(self) -> Self {
        Self { wallet_type: None, list: Some(ListFields::default()), ..self }
    }
}
