//! Between billing's words and the gateway's. Pure.

mod answers;
mod calls;
mod listed;
pub(crate) mod signals;

use billing::payment::Instrument;
use billing::store::payments::{ChargeInstrument, ChargeOrder, PaymentView};
use chrono::{DateTime, Utc};
use cloudpayments::{Amount, CardCharge, Error, Initiator, TokenCharge, TransactionPart};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) use self::answers::{
    Heard, Looked, heard, is_anothers, is_named_by, looked_up, money, orphan, stray, unknown,
};
pub(crate) use self::calls::ended;
pub(crate) use self::listed::{chargeback, listed, lost};

/// What is asked of the gateway.
pub(crate) enum ChargeRequest {
    Card(Box<CardCharge>),
    /// Money is only held.
    CardHold(Box<CardCharge>),
    Token(Box<TokenCharge>),
    /// Money is only held.
    TokenHold(Box<TokenCharge>),
}

/// The clocks that an outcome is written with.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) now: DateTime<Utc>,
    pub(crate) three_ds_expires_at: DateTime<Utc>,
    /// When to look again if the outcome is unknown.
    pub(crate) look_again_at: DateTime<Utc>,
}

/// The request of an order. The bill goes along, so that accounting finds it at the gateway too, and so that it can be
/// written down again should the database lose it.
///
/// # Errors
/// [`Error::OurFault`]: the gateway takes no such amount.
pub(crate) fn request(order: ChargeOrder, receipt: Option<&SecretString>) -> Result<ChargeRequest, Error> {
    let amount = Amount::from_minor(order.amount.get(), order.currency.decimals());
    if !amount.is_whole_hundredths() {
        let message = format!("the gateway takes no more than two decimals: {amount} {}", order.currency);
        return Err(Error::OurFault { message });
    }
    let invoice_id = Some(order.invoice_no.to_string());
    let account_id = order.account_id.to_string();
    let (json_data, holds) = (json_data(&order, receipt), order.holds);
    let (currency, description) = (order.currency.as_str(), Some(order.description));
    let by_card = |account_id, json_data, cryptogram| {
        Box::new(CardCharge {
            invoice_id: invoice_id.clone(),
            account_id: Some(account_id),
            description: description.clone(),
            json_data,
            save_card: Some(true),
            ..CardCharge::new(amount, currency, order.ip_address.unwrap_or_default(), cryptogram)
        })
    };
    Ok(match order.instrument {
        ChargeInstrument::Cryptogram(cryptogram) if !holds => {
            ChargeRequest::Card(by_card(account_id, json_data, cryptogram))
        }
        ChargeInstrument::Cryptogram(cryptogram) | ChargeInstrument::Verification(cryptogram) => {
            ChargeRequest::CardHold(by_card(account_id, json_data, cryptogram))
        }
        ChargeInstrument::Token(token) => {
            let charge = Box::new(TokenCharge {
                invoice_id,
                description,
                json_data,
                ..TokenCharge::new(amount, currency, account_id, token, Initiator::Schedule)
            });
            if holds { ChargeRequest::TokenHold(charge) } else { ChargeRequest::Token(charge) }
        }
    })
}

/// Our ids, and what the gateway itself is to read in it: `cloudpayments` (gateway documentation, `JsonData`).
fn json_data(order: &ChargeOrder, receipt: Option<&SecretString>) -> Option<Box<RawValue>> {
    let instrument = match order.instrument {
        ChargeInstrument::Cryptogram(_) | ChargeInstrument::Verification(_) => Instrument::Cryptogram,
        ChargeInstrument::Token(_) => Instrument::Token,
    };
    let mut data = serde_json::json!({
        "bill_id": order.bill_id.to_string(),
        "payment_id": order.payment_id.to_string(),
        "tariff_id": order.tariff_id.to_string(),
        "kind": order.kind.as_str(),
        "period_no": order.period_no,
        "instrument": instrument.as_str(),
    });
    attach(&mut data, receipt);
    serde_json::value::to_raw_value(&data).ok()
}

/// Our ids, as they went along with the charge of a payment.
pub(crate) fn charge_ids(payment: &PaymentView, period_no: i32) -> Value {
    serde_json::json!({
        "bill_id": payment.bill_id.to_string(),
        "payment_id": payment.id.to_string(),
        "tariff_id": payment.tariff_id.to_string(),
        "kind": payment.kind.as_str(),
        "period_no": period_no,
        "instrument": payment.instrument.as_str(),
    })
}

fn attach(data: &mut Value, receipt: Option<&SecretString>) {
    if let Some(receipt) = receipt.and_then(|text| serde_json::from_str::<Value>(text.expose_secret()).ok()) {
        data["cloudpayments"] = serde_json::json!({ "CustomerReceipt": receipt });
    }
}

/// What a part of a payment – a refund, a confirmation – is sent with: our ids, and its receipt.
pub(crate) fn part(
    transaction_id: i64,
    amount: Amount,
    mut ids: Value,
    receipt: Option<&SecretString>,
) -> TransactionPart {
    attach(&mut ids, receipt);
    let json_data = serde_json::value::to_raw_value(&ids).ok();
    TransactionPart { json_data, ..TransactionPart::new(transaction_id, amount) }
}
