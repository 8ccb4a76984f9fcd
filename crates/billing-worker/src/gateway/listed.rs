//! What is kept of an operation that the gateway lists: what can be compared, and nothing of a person or a card.

use billing::Currency;
use billing::payment::identity::Terminal;
use billing::reconciliation::{Listed, ListedChargeback, ListedOperation};
use billing::store::reconciliation::Lost;
use chrono::{DateTime, Utc};
use cloudpayments::{Amount, Chargeback, Operation, Transaction, TransactionStatus};
use serde_json::Value;

use super::answers::money;

/// An operation, as far as it can be compared. `unless_told`: when it was made, if the gateway does not say.
pub(crate) fn listed(transaction: &Transaction, terminal: Terminal, unless_told: DateTime<Utc>) -> Listed {
    let json: Option<Value> = transaction.json_data.as_deref().and_then(|json| serde_json::from_str(json).ok());
    let id = |name: &str| json.as_ref()?.get(name)?.as_str();
    let text = |text: &Option<String>| text.as_ref().map(|text| text.replace('\0', ""));
    Listed {
        transaction_id: transaction.transaction_id,
        created_at: transaction.created_at.unwrap_or(unless_told),
        operation: operation(transaction),
        status: transaction.status.map(TransactionStatus::as_str),
        amount: minor(transaction.amount, transaction.currency.as_deref()),
        currency: text(&transaction.currency),
        invoice_id: text(&transaction.invoice_id),
        account_id: text(&transaction.account_id),
        payment_id: id("payment_id").and_then(|id| id.parse().ok()),
        bill_id: id("bill_id").and_then(|id| id.parse().ok()),
        original_id: transaction.original_transaction_id,
        refunded: transaction.refunded,
        test_mode: transaction.test_mode,
        // What does not say is counted: rather a difference too many.
        on_our_terminal: transaction.test_mode.is_none_or(|test| test == (terminal == Terminal::Test)),
        payout_on: transaction.payout_on,
        payout_amount: minor(transaction.payout_amount, transaction.currency.as_deref()),
    }
}

/// The documentation does not list the numbers of `Type`: what names an original and is not said to be a payment is none.
const fn operation(transaction: &Transaction) -> ListedOperation {
    match transaction.operation {
        Some(Operation::Refund) => ListedOperation::Refund,
        Some(Operation::Payout) => ListedOperation::Payout,
        None if transaction.original_transaction_id.is_some() => ListedOperation::Refund,
        Some(Operation::Payment) | None => ListedOperation::Payment,
    }
}

/// A chargeback, likewise.
pub(crate) fn chargeback(claim: &Chargeback, unless_told: DateTime<Utc>) -> ListedChargeback {
    ListedChargeback {
        chargeback_id: claim.chargeback_id.replace('\0', ""),
        transaction_id: claim.transaction_id,
        amount: minor(claim.amount, claim.currency.as_deref()),
        currency: claim.currency.as_ref().map(|text| text.replace('\0', "")),
        kind: claim.kind.as_ref().map(|text| text.replace('\0', "")),
        operation: claim.operation.as_ref().map(|text| text.replace('\0', "")),
        at: claim.at.unwrap_or(unless_told),
    }
}

/// A charge of ours, from what the gateway gives back of it. `None`: it is not ours, or does not say enough.
pub(crate) fn lost(transaction: &Transaction, unless_told: DateTime<Utc>) -> Option<Lost> {
    let json: Value = serde_json::from_str(transaction.json_data.as_deref()?).ok()?;
    let text = |name: &str| json.get(name)?.as_str();
    let (amount, currency) = money(transaction)?;
    Some(Lost {
        transaction_id: transaction.transaction_id,
        made_at: transaction.created_at.unwrap_or(unless_told),
        invoice_no: transaction.invoice_id.as_deref()?.parse().ok()?,
        account_id: transaction.account_id.as_deref()?.parse().ok()?,
        amount,
        currency,
        payment_id: text("payment_id")?.parse().ok()?,
        bill_id: text("bill_id")?.parse().ok()?,
        tariff_id: text("tariff_id")?.parse().ok()?,
        kind: text("kind")?.parse().ok()?,
        period_no: i32::try_from(json.get("period_no")?.as_i64()?).ok()?,
        instrument: text("instrument")?.parse().ok()?,
    })
}

fn minor(amount: Option<Amount>, currency: Option<&str>) -> Option<i64> {
    let currency: Currency = currency?.parse().ok()?;
    amount?.minor(currency.decimals())
}
