//! What the gateway's answers mean for the attempt they should be of. Whose they are is compared before anything is
//! believed.

use billing::payment::identity::{Identity, Told, Verdict};
use billing::payment::operation::{Meaning, Operation, OperationStatus, Refusal, Returned};
use billing::payment::{CardMask, Outcome};
use billing::store::gateway_calls::Ended;
use billing::store::orphans::Orphan;
use billing::{Currency, Kopecks};
use chrono::TimeDelta;
use cloudpayments::{Charge, Decline, Error, Transaction, TransactionStatus};

use super::Times;

/// What an answer means, and what it brought that is not the attempt it should be of.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) outcome: Outcome,
    /// To be kept for a person.
    pub(crate) orphan: Option<Orphan>,
    /// The call whose response it was, to be ended with what it says.
    pub(crate) call: Option<Ended>,
}

impl From<Outcome> for Heard {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, orphan: None, call: None }
    }
}

/// A transaction that was looked up.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) transaction: Transaction,
    /// A refund of it is known. (The transaction itself says only when all of it was refunded.)
    pub(crate) has_refund: bool,
}

/// What the answer to a charge, or to a 3-D Secure answer passed on, means for the payment.
pub(crate) fn heard(answer: Result<Charge, Error>, ours: &Identity, times: Times) -> Heard {
    match answer {
        Ok(Charge::Completed(transaction) | Charge::Authorized(transaction)) => {
            believed(Looked { transaction: *transaction, has_refund: false }, ours, times)
                .unwrap_or_else(|| unknown("the gateway waits for 3-D Secure".to_owned(), times).into())
        }
        // It says nothing of whose it is; the answer to what the bank's page brings will.
        Ok(Charge::ThreeDsRequired(three_ds)) => Outcome::ThreeDsRequired {
            transaction_id: three_ds.transaction_id,
            acs_url: three_ds.acs_url,
            pa_req: three_ds.pa_req,
            expires_at: times.three_ds_expires_at,
        }
        .into(),
        Err(Error::Declined(decline)) => refused(*decline, ours, times),
        Err(Error::SafeToRetry { why, retry_after }) => Outcome::NotSent {
            why: why.to_string(),
            retry_after: retry_after.and_then(|after| TimeDelta::from_std(after).ok()).map(|after| times.now + after),
        }
        .into(),
        Err(error @ Error::Unauthorized) => Outcome::NotSent { why: error.to_string(), retry_after: None }.into(),
        Err(Error::OutcomeUnknown { why }) => unknown(why.to_string(), times).into(),
        Err(Error::OurFault { message }) => Outcome::Rejected { message }.into(),
    }
}

fn refused(decline: Decline, ours: &Identity, times: Times) -> Heard {
    let Some(transaction) = decline.transaction else {
        return unknown("the gateway declines, but does not say what".to_owned(), times).into();
    };
    let retry_after = decline.retry_after;
    let looked = Looked { transaction: Transaction { retry_after, ..*transaction }, has_refund: false };
    believed(looked, ours, times).unwrap_or_else(|| unknown("the gateway contradicts itself".to_owned(), times).into())
}

/// What a transaction that was looked up means for the payment; `None` if the gateway still waits for 3-D Secure.
pub(crate) fn looked_up(looked: Looked, ours: &Identity, times: Times) -> Option<Heard> {
    if !matches!(looked.transaction.operation, None | Some(cloudpayments::Operation::Payment)) {
        return Some(unknown("the gateway answers with another kind of operation".to_owned(), times).into());
    }
    believed(looked, ours, times)
}

/// Compares the transaction with what was sent. Only one that is ours says something of our attempt.
fn believed(looked: Looked, ours: &Identity, times: Times) -> Option<Heard> {
    let transaction = looked.transaction.clone();
    Some(match operation(looked).means(ours) {
        Meaning::Of(outcome) => outcome.into(),
        Meaning::Waits => return None,
        Meaning::Silent(why) => unknown(why.to_owned(), times).into(),
        Meaning::Strange { what, outcome, why } => Heard {
            outcome: outcome.unwrap_or_else(|| unknown(why, times)),
            orphan: Some(orphan(ours, &transaction, &what)),
            call: None,
        },
    })
}

/// The transaction in billing's words.
fn operation(Looked { transaction, has_refund }: Looked) -> Operation {
    let returned = match (transaction.refunded == Some(true), has_refund) {
        (true, _) => Returned::All,
        (false, true) => Returned::Part,
        (false, false) => Returned::Nothing,
    };
    Operation {
        transaction_id: transaction.transaction_id,
        told: told(&transaction),
        status: transaction.status.map(status),
        token: transaction.token.clone(),
        card: Some(mask(transaction.card.clone())),
        refusal: refusal(transaction),
        returned,
    }
}

const fn status(status: TransactionStatus) -> OperationStatus {
    match status {
        TransactionStatus::AwaitingAuthentication => OperationStatus::AwaitingAuthentication,
        TransactionStatus::Authorized => OperationStatus::Authorized,
        TransactionStatus::Completed => OperationStatus::Completed,
        TransactionStatus::Cancelled => OperationStatus::Cancelled,
        TransactionStatus::Declined => OperationStatus::Declined,
    }
}

fn mask(card: cloudpayments::CardMask) -> CardMask {
    CardMask {
        first_six: card.first_six,
        last_four: card.last_four,
        expires: card.expires,
        scheme: card.brand,
        fingerprint: card.fingerprint,
    }
}

fn refusal(transaction: Transaction) -> Refusal {
    let Decline { code, reason, cardholder_message, retry_after, .. } = Decline::from(transaction);
    Refusal { code, reason, cardholder_message, retry_after }
}

pub(crate) fn money(transaction: &Transaction) -> Option<(Kopecks, Currency)> {
    let currency: Currency = transaction.currency.as_deref()?.parse().ok()?;
    let amount = transaction.amount?.minor(currency.decimals())?;
    Some((Kopecks::new(amount), currency))
}

fn told(transaction: &Transaction) -> Told {
    Told {
        invoice_id: transaction.invoice_id.clone(),
        account_id: transaction.account_id.clone(),
        json_data: transaction.json_data.clone(),
        amount: money(transaction).map(|(amount, _)| amount),
        currency: transaction.currency.clone(),
        test_mode: transaction.test_mode,
    }
}

/// Whether the transaction is another's, and says nothing about our attempt.
pub(crate) fn is_anothers(transaction: &Transaction, ours: &Identity) -> bool {
    matches!(ours.compare(&told(transaction)), Verdict::Anothers(_))
}

/// Whether the transaction claims to be of our attempt.
pub(crate) fn is_named_by(transaction: &Transaction, ours: &Identity) -> bool {
    ours.is_named_by(&told(transaction))
}

/// What is kept of a transaction for a person.
pub(crate) fn orphan(ours: &Identity, transaction: &Transaction, what: &str) -> Orphan {
    let status = transaction.status.map(TransactionStatus::as_str);
    Orphan::new(ours, transaction.transaction_id, told(transaction), status, what)
}

/// Likewise, of one that is no payment of ours.
pub(crate) fn stray(transaction: &Transaction, what: String) -> Orphan {
    let Told { invoice_id, account_id, amount, currency, test_mode, .. } = told(transaction);
    let kept = |text: String| text.replace('\0', "").chars().take(255).collect();
    Orphan {
        payment_id: None,
        transaction_id: transaction.transaction_id,
        what,
        status: transaction.status.map(|status| status.as_str().to_owned()),
        invoice_id: invoice_id.map(kept),
        account_id: account_id.map(kept),
        amount,
        currency: currency.map(kept),
        test_mode,
    }
}

pub(crate) fn unknown(why: String, times: Times) -> Outcome {
    Outcome::Unknown { why, look_again_at: times.look_again_at }
}
