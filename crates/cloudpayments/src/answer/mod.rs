//! What an answer means: pure functions of an HTTP status and the bytes of a body.
//!
//! | answer | decision |
//! |---|---|
//! | 401, whatever the body | [`Error::Unauthorized`] |
//! | 429, whatever the body | [`Error::SafeToRetry`] |
//! | 1xx, 3xx, 5xx, whatever the body | [`Error::OutcomeUnknown`] |
//! | 2xx or another 4xx with a body we can read | as the body says; a success counts only with 2xx |
//! | anything else | [`Error::OutcomeUnknown`] |
//!
//! Of a body, `Success` says whether the call went through and `Model.Status` where the operation
//! stands (the documentation's "Оплата по криптограмме"). An outcome is definite only when all that
//! the answer says agrees. A refusal without a `Model` proves that nothing was processed only in the
//! words of [`refusal`]; in any others the outcome is unknown.

pub mod refusal;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use crate::{
    Charge, Chargeback, Decline, Doubt, Error, NotProcessed, ThreeDs, Transaction, TransactionStatus,
    fields::Fields,
    transaction::{reason_code, standing},
};

/// A complete answer as it came.
#[derive(Clone)]
pub struct Received {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header, if it gave seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// The body can hold a token.
impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("body", &format_args!("[{} bytes]", self.body.len()))
            .finish()
    }
}

/// An answer whose envelope we could read.
struct Answer<'a> {
    success: bool,
    message: Option<String>,
    model: Model<'a>,
}

enum Model<'a> {
    Absent,
    Object(Fields<'a>),
    List(Vec<Fields<'a>>),
}

/// The longest explanation kept from an answer, in characters.
const MAX_MESSAGE: usize = 500;

impl Received {
    /// The answer to a charge, an authorization or a completed 3-D Secure.
    pub fn charge(&self) -> Result<Charge, Error> {
        let answer = self.open()?;
        let Model::Object(model) = &answer.model else {
            return Err(answer.refusal());
        };
        if let Some(three_ds) = three_ds(model)? {
            return Ok(Charge::ThreeDsRequired(three_ds));
        }
        let status = standing(model).ok_or(Doubt::Undecodable("no clear status"))?;
        let accepted = || {
            if !answer.success {
                return Err(Doubt::Contradictory("accepted without success"));
            }
            Transaction::read(model).map(Box::new).ok_or(Doubt::Undecodable("no TransactionId"))
        };
        match status {
            TransactionStatus::Completed => Ok(Charge::Completed(accepted()?)),
            TransactionStatus::Authorized => Ok(Charge::Authorized(accepted()?)),
            TransactionStatus::Declined => Err(answer.declined(model)?.into()),
            TransactionStatus::AwaitingAuthentication => {
                Err(Doubt::Contradictory("awaits authentication, but does not say where").into())
            }
            TransactionStatus::Cancelled => Err(Doubt::Contradictory("cancelled").into()),
        }
    }

    /// The answer to a look-up. `Success` does not matter here: a declined transaction is found with
    /// `Success: false`. None: the gateway says there is none.
    pub fn lookup(&self) -> Result<Option<Transaction>, Error> {
        let answer = self.open()?;
        match &answer.model {
            Model::Object(model) => {
                Transaction::read(model).map(Some).ok_or_else(|| Doubt::Undecodable("no TransactionId").into())
            }
            Model::Absent if answer.says_not_found() => Ok(None),
            Model::Absent | Model::List(_) => Err(answer.refusal()),
        }
    }

    /// One page of a list. An entry without an id makes the page unreadable: skipping it could hide
    /// the very payment that is looked for.
    pub fn page(&self) -> Result<Vec<Transaction>, Error> {
        let answer = self.open()?;
        let Model::List(entries) = &answer.model else {
            return Err(answer.refusal());
        };
        if !answer.success {
            return Err(Doubt::Contradictory("a list without success").into());
        }
        entries
            .iter()
            .map(|entry| Transaction::read(entry).ok_or_else(|| Doubt::Undecodable("no TransactionId").into()))
            .collect()
    }

    /// One page of chargebacks. Likewise none may be skipped.
    pub fn chargebacks(&self) -> Result<Vec<Chargeback>, Error> {
        let answer = self.open()?;
        let Model::List(entries) = &answer.model else {
            return Err(answer.refusal());
        };
        if !answer.success {
            return Err(Doubt::Contradictory("a list without success").into());
        }
        entries
            .iter()
            .map(|entry| Chargeback::read(entry).ok_or_else(|| Doubt::Undecodable("no ChargeBackId").into()))
            .collect()
    }

    /// The answer to an order that has no result of its own (confirm, void).
    pub fn done(&self) -> Result<(), Error> {
        self.open()?.ordered().map(|_| ())
    }

    /// The answer to a refund: the id of the refund itself.
    pub fn refund(&self) -> Result<i64, Error> {
        let answer = self.open()?;
        answer
            .ordered()?
            .and_then(|model| model.integer("TransactionId"))
            .ok_or_else(|| Doubt::Undecodable("no TransactionId").into())
    }

    /// The answer to an order of a receipt: the register's id of it.
    pub fn receipt(&self) -> Result<String, Error> {
        let answer = self.open()?;
        answer.ordered()?.and_then(|model| model.text("Id")).ok_or_else(|| Doubt::Undecodable("no Id").into())
    }

    /// The answer to a test call: the id the gateway gave it.
    pub fn test(&self) -> Result<String, Error> {
        let answer = self.open()?;
        answer.ordered()?;
        Ok(answer.message.unwrap_or_default())
    }

    fn open(&self) -> Result<Answer<'_>, Error> {
        match self.status {
            401 => return Err(Error::Unauthorized),
            429 => {
                return Err(Error::SafeToRetry { why: NotProcessed::RateLimited, retry_after: self.retry_after });
            }
            200..=299 | 400..=499 => {}
            status => return Err(Doubt::Status(status).into()),
        }
        match Answer::read(&self.body) {
            Ok(answer) if answer.success && self.status >= 400 => Err(Doubt::Status(self.status).into()),
            Ok(answer) => Ok(answer),
            Err(_) if self.status >= 400 => Err(Doubt::Status(self.status).into()),
            Err(doubt) => Err(doubt.into()),
        }
    }
}

impl<'a> Answer<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Doubt> {
        let envelope = Fields::from_json(body).map_err(|_| Doubt::Undecodable("not a JSON object"))?;
        let success = envelope.boolean("Success").ok_or(Doubt::Undecodable("no Success"))?;
        let model = match envelope.nested("Model") {
            None if envelope.has("Model") => return Err(Doubt::Undecodable("Model")),
            None => Model::Absent,
            Some(json) if json.starts_with('{') => Model::Object(nested(json)?),
            Some(json) => Model::List(nested(json)?),
        };
        let message = envelope.text("Message").map(|message| message.chars().take(MAX_MESSAGE).collect());
        Ok(Self { success, message, model })
    }

    /// What an answer without the expected model means: a refusal if it is one and says why.
    fn refusal(&self) -> Error {
        match (&self.model, &self.message) {
            (Model::Absent, Some(message)) if !self.success && refusal::is_of_validation(message) => {
                Error::OurFault { message: message.clone() }
            }
            (Model::Absent, Some(message)) if !self.success => Doubt::Refusal(message.clone()).into(),
            _ => Doubt::Undecodable("neither a result nor a refusal").into(),
        }
    }

    /// The model of a successful order, if it has one.
    fn ordered(&self) -> Result<Option<&Fields<'a>>, Error> {
        let model = match &self.model {
            Model::Object(model) => Some(model),
            Model::Absent => None,
            Model::List(_) => return Err(Doubt::Undecodable("Model").into()),
        };
        match model {
            Some(model) if standing(model) == Some(TransactionStatus::Declined) => Err(self.declined(model)?.into()),
            Some(model) if reason_code(model).is_some_and(|code| code != 0) => {
                Err(Doubt::Contradictory("a reason to decline, but not declined").into())
            }
            _ if self.success => Ok(model),
            _ => Err(self.refusal()),
        }
    }

    /// An answer that says "declined" in one place and "approved" in two says nothing.
    fn declined(&self, model: &Fields<'_>) -> Result<Decline, Doubt> {
        let code = reason_code(model);
        if self.success && code == Some(0) {
            return Err(Doubt::Contradictory("declined with success"));
        }
        let decline = Decline::new(
            code.unwrap_or(0),
            model.text("Reason"),
            model.text("CardHolderMessage"),
            model.moment("RetryAfter"),
        );
        let transaction = Transaction::read(model).map(Box::new);
        Ok(Decline { transaction, ..decline })
    }

    fn says_not_found(&self) -> bool {
        let message = self.message.as_deref().unwrap_or_default();
        !self.success && message.trim().eq_ignore_ascii_case("not found")
    }
}

fn nested<'a, T: serde::Deserialize<'a>>(json: &'a str) -> Result<T, Doubt> {
    serde_json::from_str(json).map_err(|_| Doubt::Undecodable("Model"))
}

/// 3-D Secure is told by `AcsUrl` and `PaReq` without a `ReasonCode`.
fn three_ds(model: &Fields<'_>) -> Result<Option<ThreeDs>, Doubt> {
    let (Some(acs_url), Some(pa_req)) = (model.text("AcsUrl"), model.text("PaReq")) else {
        return Ok(None);
    };
    if model.has("ReasonCode") {
        return Ok(None);
    }
    let transaction_id = model.integer("TransactionId").ok_or(Doubt::Undecodable("no TransactionId"))?;
    Ok(Some(ThreeDs { transaction_id, acs_url, pa_req }))
}
