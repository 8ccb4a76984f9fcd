//! Receipts of the cash register ("CloudKassir"): queued by a request or by the `CustomerReceipt` in a payment's
//! `JsonData`, printed a little later.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::transaction::TransactionId;
use crate::money::Amount;

/// From the request to the printed receipt.
pub(crate) const PRINTING: TimeDelta = TimeDelta::seconds(2);
/// The INN of receipts that come with payments: that of the sandbox's shop.
pub(crate) const SHOP_INN: &str = "7700000000";
/// Characters of a label that are printed.
const MAX_LABEL: usize = 128;
const MAX_ITEMS: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ReceiptId(pub(crate) String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReceiptKind {
    Income,
    IncomeReturn,
    Expense,
    ExpenseReturn,
}

impl ReceiptKind {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let all = [Self::Income, Self::IncomeReturn, Self::Expense, Self::ExpenseReturn];
        all.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Income => "Income",
            Self::IncomeReturn => "IncomeReturn",
            Self::Expense => "Expense",
            Self::ExpenseReturn => "ExpenseReturn",
        }
    }
}

/// What the merchant asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) inn: String,
    pub(crate) kind: ReceiptKind,
    pub(crate) invoice_id: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) transaction_id: Option<TransactionId>,
    /// `CustomerReceipt` as JSON, with the documented names.
    pub(crate) content: Value,
    pub(crate) amount: Amount,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) id: ReceiptId,
    pub(crate) order: Order,
    /// They number the documents of the one cash register there is.
    pub(crate) number: u64,
    pub(crate) queued_at: DateTime<Utc>,
    pub(crate) issued_at: Option<DateTime<Utc>>,
}

/// A `CustomerReceipt` with names as the gateway gives them back, and what it comes to.
///
/// # Errors
///
/// What no cash register would print; the text is the answer's `Message`.
pub(crate) fn read(receipt: &Value) -> Result<(Value, Amount), String> {
    const ITEM: [&str; 9] =
        ["Label", "Price", "Quantity", "Amount", "Vat", "EAN13", "Method", "Object", "MeasurementUnit"];
    const AMOUNTS: [&str; 4] = ["Electronic", "AdvancePayment", "Credit", "Provision"];
    let items = named(receipt, "Items").and_then(Value::as_array).filter(|items| !items.is_empty());
    let items = items.ok_or("CustomerReceipt.Items is required")?;
    if items.len() > MAX_ITEMS {
        return Err(format!("CustomerReceipt.Items must be at most {MAX_ITEMS}"));
    }
    let mut total = Amount::ZERO;
    let mut printed = Vec::new();
    for item in items {
        let mut line = pick(item, &ITEM);
        let label = named(item, "Label").and_then(Value::as_str).filter(|label| !label.trim().is_empty());
        let label: String = label.ok_or("CustomerReceipt.Items.Label is required")?.chars().take(MAX_LABEL).collect();
        line["Label"] = label.into();
        money(item, "Price")?;
        total = total.plus(money(item, "Amount")?);
        printed.push(line);
    }
    if total == Amount::ZERO {
        return Err("CustomerReceipt must come to more than nothing".to_owned());
    }
    let system = named(receipt, "TaxationSystem").filter(|value| !value.is_null());
    if system.is_some_and(|system| system.as_u64().is_none_or(|system| system > 5)) {
        return Err("CustomerReceipt.TaxationSystem is invalid".to_owned());
    }
    let mut read = pick(receipt, &["TaxationSystem", "Email", "Phone", "IsBso", "CalculationPlace"]);
    read["Items"] = printed.into();
    read["Amounts"] = named(receipt, "Amounts")
        .filter(|amounts| amounts.is_object())
        .map_or(Value::Null, |amounts| pick(amounts, &AMOUNTS));
    Ok((read, total))
}

/// The receipt a payment's `JsonData` asks for: `{"CloudPayments":{"CustomerReceipt":{…}}}`.
pub(crate) fn of_json_data(json_data: &str) -> Option<Value> {
    let data: Value = serde_json::from_str(json_data).ok()?;
    named(named(&data, "CloudPayments")?, "CustomerReceipt").cloned()
}

fn money(item: &Value, field: &str) -> Result<Amount, String> {
    let number = named(item, field).filter(|value| !value.is_null());
    let number = number.ok_or_else(|| format!("CustomerReceipt.Items.{field} is required"))?;
    let text = number.as_str().map_or_else(|| number.to_string(), str::to_owned);
    if text.parse::<rust_decimal::Decimal>().is_ok_and(|number| number.is_zero()) {
        return Ok(Amount::ZERO);
    }
    Amount::parse(&text).map_err(|error| format!("CustomerReceipt.Items.{field} {error}"))
}

/// The documented fields of an object, whatever case they are written in.
fn pick(object: &Value, fields: &[&str]) -> Value {
    fields.iter().map(|field| ((*field).to_owned(), named(object, field).cloned().unwrap_or(Value::Null))).collect()
}

/// A field of an object, in any case.
fn named<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item() -> Value {
        json!({ "label": "Подписка", "price": 59.5, "quantity": 1, "amount": 59.5, "vat": 20 })
    }

    #[test]
    fn names_are_read_in_any_case_and_given_back_as_documented() {
        let (read, total) =
            read(&json!({ "items": [item()], "taxationSystem": 1, "amounts": { "electronic": 59.5 } })).unwrap();
        assert_eq!((&read["Items"][0]["Label"], &read["Items"][0]["Vat"]), (&json!("Подписка"), &json!(20)));
        assert_eq!((&read["TaxationSystem"], &read["Amounts"]["Electronic"]), (&json!(1), &json!(59.5)));
        assert_eq!(total, Amount::from_kopecks(5950));
    }

    #[test]
    fn what_cannot_be_printed_is_refused_by_name() {
        let with = |field: &str, value: Value| {
            let mut item = item();
            item[field] = value;
            json!({ "Items": [item] })
        };
        for (receipt, field) in [
            (json!({}), "Items"),
            (json!({ "Items": [] }), "Items"),
            (with("label", json!(" ")), "Label"),
            (with("price", json!(-1)), "Price"),
            (with("amount", json!(1.005)), "Amount"),
            (with("amount", json!(0)), "nothing"),
            (json!({ "Items": [item()], "TaxationSystem": 6 }), "TaxationSystem"),
        ] {
            let refused = read(&receipt).unwrap_err();
            assert!(refused.contains(field), "{refused}");
        }
    }

    #[test]
    fn a_receipt_stands_in_json_data_under_the_gateways_name() {
        assert!(of_json_data(r#"{"cloudpayments":{"CustomerReceipt":{"Items":[]}},"tariff":1}"#).is_some());
        for without in ["", "[]", "{}", r#"{"CustomerReceipt":{}}"#] {
            assert!(of_json_data(without).is_none(), "{without}");
        }
    }
}
