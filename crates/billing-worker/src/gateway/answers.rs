//! What the gateway's answers mean for the attempt they should be of. Whose they are is compared before anything is
//! believed.

use billing::payment::identity::{Identity, Told, Verdict};
use billing::payment::{CardMask, Outcome};
use billing::store::gateway_calls::Ended;
use billing::store::orphans::Orphan;
use billing::{Currency, Kopecks};
use chrono::TimeDelta;
use cloudpayments::{Charge, Decline, Error, Operation, Transaction, TransactionStatus};

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
    if !matches!(looked.transaction.operation, None | Some(Operation::Payment)) {
        return Some(unknown("the gateway answers with another kind of operation".to_owned(), times).into());
    }
    believed(looked, ours, times)
}

/// Compares the transaction with what was sent. Only one that is ours says something of our attempt.
fn believed(looked: Looked, ours: &Identity, times: Times) -> Option<Heard> {
    let transaction = &looked.transaction;
    let transaction_id = transaction.transaction_id;
    let heard = |outcome, orphan| Heard { outcome, orphan, call: None };
    let doubt = |what: String, orphan| heard(unknown(format!("transaction {transaction_id}: {what}"), times), orphan);
    Some(match ours.compare(&told(transaction)) {
        Verdict::Ours | Verdict::OtherMoney(_) => standing(looked, times)?.into(),
        Verdict::OnlyTest => {
            let what = "executed in test mode on a live terminal (CLOUDPAYMENTS_TERMINAL)";
            heard(Outcome::OnlyTest { transaction_id }, Some(orphan(ours, transaction, what)))
        }
        Verdict::RealMoney => {
            let what = "executed with real money on a test terminal (CLOUDPAYMENTS_TERMINAL)";
            let why = format!("transaction {transaction_id}: {what}: a person must decide");
            heard(Outcome::Disputed { why }, Some(orphan(ours, transaction, what)))
        }
        Verdict::Anothers(differences) => {
            doubt(format!("another's: {differences}"), Some(orphan(ours, transaction, &differences.to_string())))
        }
        Verdict::Unproved(differences) => doubt(
            format!("not proved to be ours: {differences}"),
            Some(orphan(ours, transaction, &differences.to_string())),
        ),
    })
}

/// Where a transaction of ours stands.
fn standing(Looked { transaction, has_refund }: Looked, times: Times) -> Option<Outcome> {
    Some(match transaction.status {
        Some(TransactionStatus::Completed) => completed(transaction, has_refund, times),
        Some(TransactionStatus::Authorized) => authorized(transaction, times),
        Some(TransactionStatus::Declined) => declined(transaction),
        Some(TransactionStatus::AwaitingAuthentication) => return None,
        // Held, and let go: by hand, or by the gateway after seven days.
        Some(TransactionStatus::Cancelled) => Outcome::Voided,
        None => unknown("the gateway does not say where it stands".to_owned(), times),
    })
}

fn completed(transaction: Transaction, has_refund: bool, times: Times) -> Outcome {
    let Some((amount, currency)) = money(&transaction) else {
        return unknown("the gateway does not say how much it took".to_owned(), times);
    };
    let transaction_id = transaction.transaction_id;
    let whole = transaction.refunded == Some(true);
    let token = transaction.token;
    let card = Some(mask(transaction.card));
    if whole || has_refund {
        return Outcome::Refunded { transaction_id, token, amount, currency, card, whole };
    }
    Outcome::Completed { transaction_id, token, amount, currency, card }
}

fn authorized(transaction: Transaction, times: Times) -> Outcome {
    let Some((amount, currency)) = money(&transaction) else {
        return unknown("the gateway does not say how much it holds".to_owned(), times);
    };
    let card = Some(mask(transaction.card));
    Outcome::Authorized { transaction_id: transaction.transaction_id, token: transaction.token, amount, currency, card }
}

fn mask(card: cloudpayments::CardMask) -> CardMask {
    CardMask { first_six: card.first_six, last_four: card.last_four, expires: card.expires, scheme: card.brand }
}

fn declined(transaction: Transaction) -> Outcome {
    let decline = Decline::from(transaction);
    Outcome::Declined {
        transaction_id: decline.transaction_id(),
        code: decline.code,
        reason: decline.reason.unwrap_or_default(),
        cardholder_message: decline.cardholder_message.unwrap_or_default(),
        retry_after: decline.retry_after,
    }
}

fn money(transaction: &Transaction) -> Option<(Kopecks, Currency)> {
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

pub(crate) fn unknown(why: String, times: Times) -> Outcome {
    Outcome::Unknown { why, look_again_at: times.look_again_at }
}
