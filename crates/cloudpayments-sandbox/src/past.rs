//! A past for a shop that shows one: what it has of weeks in which this sandbox did not run, the sandbox has as well. So its
//! tokens can be charged, its payments refunded, and a reconciliation finds nothing missing. The shop is not notified of it.

use std::io;

use chrono::{DateTime, Utc};

use crate::{
    cards::{CardMask, Expiry},
    http::Books,
    ledger::{
        Answer, Change, Decision,
        command::Command,
        past::PastInstrument,
        transaction::{Purpose, Token, TransactionId},
    },
    money::{Amount, Currency},
    reason::Reason,
    server::Bound,
};

/// A charge in roubles, and how its bank answered.
#[derive(Debug, Clone)]
pub struct PastCharge<'a> {
    pub by: ChargedBy<'a>,
    pub account_id: &'a str,
    pub invoice_id: &'a str,
    pub description: &'a str,
    /// JSON.
    pub json_data: String,
    pub kopecks: i64,
    /// The money was only held.
    pub holds: bool,
    /// A code of the handbook; 0: paid.
    pub reason_code: u16,
    pub at: DateTime<Utc>,
}

/// What was charged.
#[derive(Clone, Copy)]
pub enum ChargedBy<'a> {
    /// All digits of the number, and `MM/YY`.
    Card {
        number: &'a str,
        expires: &'a str,
    },
    Token(&'a str),
}

impl std::fmt::Debug for ChargedBy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Card { .. } => "Card",
            Self::Token(_) => "Token",
        })
    }
}

/// What the shop was answered.
#[derive(Clone)]
pub struct PastAnswer {
    pub transaction_id: i64,
    pub reason: &'static str,
    /// In Russian.
    pub cardholder_message: &'static str,
    /// Of a card that has paid.
    pub token: Option<String>,
    pub first_six: String,
    pub last_four: String,
    /// `MM/YY`.
    pub expires: String,
    pub card_type: Option<&'static str>,
}

/// Why something cannot have happened.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    #[error("{0}")]
    Refused(String),
    #[error("the ledger file: {0}")]
    File(#[from] io::Error),
}

fn refused(what: &str) -> PastError {
    PastError::Refused(what.to_owned())
}

/// To be used before the sandbox is served.
impl Bound {
    /// A charge of the past. Whatever its card is, it has no 3-D Secure.
    ///
    /// # Errors
    /// [`PastError`].
    pub fn charged(&self, charge: &PastCharge<'_>) -> Result<PastAnswer, PastError> {
        let reason = Reason::try_from(charge.reason_code).map_err(PastError::Refused)?;
        let instrument = match charge.by {
            ChargedBy::Card { number, expires } => PastInstrument::Card(mask(number, expires)?),
            ChargedBy::Token(token) => PastInstrument::Token(Token(token.to_owned())),
        };
        let mut books = self.books();
        let decided = books.ledger.charge_past(&instrument, purpose(charge)?, reason, charge.at);
        let decision = decided.map_err(|refusal| PastError::Refused(refusal.0))?;
        let Answer::Transaction(payment) = record(&mut books, decision)? else { return Err(refused("no payment")) };
        let card = payment.card.as_ref().ok_or_else(|| refused("no card"))?;
        Ok(PastAnswer {
            transaction_id: payment.id.0,
            reason: reason.name(),
            cardholder_message: reason.cardholder_message("ru"),
            token: payment.token.as_ref().map(|token| token.0.clone()),
            first_six: card.first_six.clone(),
            last_four: card.last_four.clone(),
            expires: card.expiry.month_year(),
            card_type: card.test_card().map(|card| card.brand.name()),
        })
    }

    /// Money of a payment went back. Returns the number of the refund.
    ///
    /// # Errors
    /// [`PastError`].
    pub fn gave_back(
        &self,
        payment: i64,
        kopecks: i64,
        json_data: String,
        at: DateTime<Utc>,
    ) -> Result<i64, PastError> {
        let refund = Command::Refund {
            id: TransactionId(payment),
            amount: Amount::from_kopecks(kopecks),
            json_data: Some(json_data),
        };
        match self.did(&refund, at)? {
            Answer::Refunded(id) => Ok(id.0),
            other => Err(PastError::Refused(other.to_string())),
        }
    }

    /// Money that was held was let go.
    ///
    /// # Errors
    /// [`PastError`].
    pub fn let_go(&self, payment: i64, at: DateTime<Utc>) -> Result<(), PastError> {
        self.did(&Command::Void { id: TransactionId(payment) }, at).map(drop)
    }

    /// The customer's bank took all of a payment back. Returns the number of the chargeback.
    ///
    /// # Errors
    /// [`PastError`].
    pub fn charged_back(&self, payment: i64, at: DateTime<Utc>) -> Result<String, PastError> {
        self.did(&Command::ChargeBack { id: TransactionId(payment), amount: None }, at)?;
        let books = self.books();
        let last = books.ledger.chargebacks().last().ok_or_else(|| refused("no chargeback"))?;
        Ok(last.id.clone())
    }

    fn did(&self, command: &Command, at: DateTime<Utc>) -> Result<Answer, PastError> {
        let mut books = self.books();
        let decision = books.ledger.decide(command, None, at);
        match record(&mut books, decision)? {
            Answer::Refused(message) => Err(PastError::Refused(message)),
            answer => Ok(answer),
        }
    }
}

/// Nobody is told of what is long over.
fn record(books: &mut Books, Decision { mut changes, verdict }: Decision) -> Result<Answer, PastError> {
    changes.retain(|change| !matches!(change, Change::Notice(_)));
    books.record(changes)?;
    Ok(books.ledger.answer(verdict))
}

fn mask(number: &str, expires: &str) -> Result<CardMask, PastError> {
    let is_number = (12..=19).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let expiry = expires.split_once('/').and_then(|(month, year)| Expiry::new(month, year));
    match expiry {
        Some(expiry) if is_number => {
            let (first_six, last_four) = (number[..6].to_owned(), number[number.len() - 4..].to_owned());
            Ok(CardMask { first_six, last_four, expiry })
        }
        _ => Err(refused("not a card")),
    }
}

fn purpose(charge: &PastCharge<'_>) -> Result<Purpose, PastError> {
    Ok(Purpose {
        amount: Amount::from_kopecks(charge.kopecks),
        currency: Currency::parse("RUB").ok_or_else(|| refused("no roubles"))?,
        invoice_id: Some(charge.invoice_id.to_owned()),
        account_id: Some(charge.account_id.to_owned()),
        email: None,
        description: Some(charge.description.to_owned()),
        json_data: Some(charge.json_data.clone()),
        ip_address: None,
        culture: "ru-RU".to_owned(),
        two_stage: charge.holds,
    })
}
