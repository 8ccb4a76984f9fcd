//! Looking an attempt up at the gateway. What is found there under its numbers may be another's: that is kept for a person,
//! and says nothing about the attempt.

use billing::payment::identity::Identity;
use billing::store::orphans::{self, Orphan};
use billing::store::payments::PaymentView;
use cloudpayments::{Error, ListRequest, Operation, Transaction, TransactionStatus};

use super::calls::Calls;
use super::look_for_refund::recognise;
use crate::desk::Desk;
use crate::gateway::{self, Looked};

/// What the gateway has of an attempt. `None`: nothing, or only what is another's.
///
/// By the attempt's invoice number the gateway finds only the last operation, which may be a refund of the payment that
/// is looked for ("Проверка статуса платежа"): the refund says which it is of.
pub(super) async fn look_up(desk: &Desk, payment: &PaymentView) -> Result<Option<Looked>, Error> {
    let ours = payment.identity(desk.terminal);
    let calls = Calls::about(payment.id, desk);
    if let Some(transaction_id) = payment.transaction_id
        && let Some(transaction) = get(desk, &calls, &ours, transaction_id).await?
    {
        return Ok(Some(Looked { transaction, has_refund: false }));
    }
    let invoice_no = ours.invoice_no.to_string();
    let found = calls.make("/v2/payments/find", None, calls.gateway.find(&invoice_no)).await?;
    let Some(found) = found else { return Ok(None) };
    if !is_refund(&found) {
        let transaction = keep_if_ours(desk, &ours, found).await;
        return Ok(transaction.map(|transaction| Looked { transaction, has_refund: false }));
    }
    let Some(original) = found.original_transaction_id else {
        let what = "a refund under our invoice number that does not say of what";
        set_aside(desk, gateway::orphan(&ours, &found, what)).await;
        return Err(cloudpayments::Doubt::Contradictory("a refund of nothing").into());
    };
    let transaction = get(desk, &calls, &ours, original).await?;
    if transaction.is_some() {
        recognise(desk, payment, &found).await;
    }
    Ok(transaction.map(|transaction| Looked { transaction, has_refund: true }))
}

/// Looks for the attempt among everything that the gateway has of that time. Of several operations of the attempt the one
/// that says most of the money counts: a bank that declined may have been followed by another that did not.
pub(super) async fn listed(desk: &Desk, payment: &PaymentView, request: ListRequest) -> Result<Option<Looked>, Error> {
    let ours = payment.identity(desk.terminal);
    let mut best: Option<Transaction> = None;
    let mut refunds = Vec::new();
    let calls = Calls::about(payment.id, desk);
    let mut pages = calls.gateway.pages(request);
    while let Some(page) = calls.make("/v2/payments/list", None, pages.next()).await? {
        for transaction in page.into_iter().filter(|transaction| gateway::is_named_by(transaction, &ours)) {
            if is_refund(&transaction) {
                refunds.push(transaction);
                continue;
            }
            let Some(transaction) = keep_if_ours(desk, &ours, transaction).await else { continue };
            if best.as_ref().is_none_or(|best| weight(best) < weight(&transaction)) {
                best = Some(transaction);
            }
        }
    }
    let Some(transaction) = best else { return Ok(None) };
    refunds.retain(|refund| refund.original_transaction_id == Some(transaction.transaction_id));
    for refund in &refunds {
        recognise(desk, payment, refund).await;
    }
    Ok(Some(Looked { transaction, has_refund: !refunds.is_empty() }))
}

/// Whether it gives a payment back. The documentation does not list the numbers of `Type`: what names an original and is
/// not said to be a payment is none.
pub(super) const fn is_refund(transaction: &Transaction) -> bool {
    match transaction.operation {
        Some(Operation::Refund) => true,
        Some(Operation::Payment | Operation::Payout) => false,
        None => transaction.original_transaction_id.is_some(),
    }
}

/// How much it says of the money.
const fn weight(transaction: &Transaction) -> u8 {
    match transaction.status {
        Some(TransactionStatus::Completed) => 5,
        Some(TransactionStatus::Authorized) => 4,
        Some(TransactionStatus::AwaitingAuthentication) => 3,
        None => 2,
        Some(TransactionStatus::Cancelled) => 1,
        Some(TransactionStatus::Declined) => 0,
    }
}

async fn get(
    desk: &Desk,
    calls: &Calls<'_>,
    ours: &Identity,
    transaction_id: i64,
) -> Result<Option<Transaction>, Error> {
    match calls.make("/payments/get", None, calls.gateway.get(transaction_id)).await? {
        Some(transaction) => Ok(keep_if_ours(desk, ours, transaction).await),
        None => Ok(None),
    }
}

/// None of another's, which is kept for a person.
async fn keep_if_ours(desk: &Desk, ours: &Identity, transaction: Transaction) -> Option<Transaction> {
    if !gateway::is_anothers(&transaction, ours) {
        return Some(transaction);
    }
    set_aside(desk, gateway::orphan(ours, &transaction, "another's, met in place of this payment")).await;
    None
}

/// Keeps an operation for a person, who is told of it once. That it cannot be written down now is no reason to leave the
/// attempt in doubt: it is met again, or was told to the log.
pub(super) async fn set_aside(desk: &Desk, orphan: Orphan) {
    let written = match desk.services.db.conn().await {
        Ok(mut conn) => orphans::report(&mut conn, &orphan, desk.terminal, desk.services.time_zone, desk.now())
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let Orphan { payment_id, transaction_id, what, .. } = &orphan;
    let payment_id = payment_id.map(|id| id.to_string());
    match written {
        Ok(true) => {
            tracing::error!(
                payment_id,
                transaction_id,
                what,
                "an orphan of the gateway: it pays for nothing, a person must look"
            );
        }
        Ok(false) => tracing::debug!(payment_id, transaction_id, what, "an orphan of the gateway, met again"),
        Err(error) => {
            tracing::error!(payment_id, transaction_id, what, error, "an orphan of the gateway that could not be kept");
        }
    }
}
