//! Notifications of the gateway ("уведомления"): pure parsing and checking, no HTTP.
//!
//! [`signature::verify`] the raw body first, then [`parse`] it. They arrive at least once and in any
//! order: be idempotent by kind and transaction id, and reply [`Reply::Accepted`] only once the
//! notification is stored, for any other reply is repeated (100 times: after 1, 2, 5, 10, then every 30
//! minutes). Compare amount, invoice and account with your own records: a valid signature says who
//! sent it, not that it fits.

mod model;
pub mod signature;

use std::{fmt, str::FromStr};

pub use model::{Cancel, Check, Confirm, Fail, Pay, Payment, Receipt, Recurrent, Refund};

use crate::fields::Fields;

/// The largest body that is parsed.
pub const MAX_BODY: usize = 256 * 1024;

/// What a notification is about; each kind has its own URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Before a payment is made: may it be?
    Check,
    /// Money was taken or is held.
    Pay,
    /// A payment was declined. Not yet the end: the gateway may try another bank.
    Fail,
    /// Held money was taken.
    Confirm,
    /// Money went back.
    Refund,
    /// A subscription kept by the gateway changed its status.
    Recurrent,
    /// Held money was let go.
    Cancel,
    /// A fiscal receipt was made.
    Receipt,
}

/// No kind of notification is called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of notification")]
pub struct UnknownKind;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Check, Self::Pay, Self::Fail, Self::Confirm, Self::Refund, Self::Recurrent, Self::Cancel, Self::Receipt];

    /// The name in lower case, as it stands in URLs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Pay => "pay",
            Self::Fail => "fail",
            Self::Confirm => "confirm",
            Self::Refund => "refund",
            Self::Recurrent => "recurrent",
            Self::Cancel => "cancel",
            Self::Receipt => "receipt",
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| name.eq_ignore_ascii_case(kind.as_str())).ok_or(UnknownKind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A notification.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "described at `Kind`")]
pub enum Notification {
    Check(Box<Check>),
    Pay(Box<Pay>),
    Fail(Box<Fail>),
    Confirm(Box<Confirm>),
    Refund(Box<Refund>),
    Recurrent(Box<Recurrent>),
    Cancel(Box<Cancel>),
    Receipt(Box<Receipt>),
}

impl Notification {
    /// The kind it is of.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Check(_) => Kind::Check,
            Self::Pay(_) => Kind::Pay,
            Self::Fail(_) => Kind::Fail,
            Self::Confirm(_) => Kind::Confirm,
            Self::Refund(_) => Kind::Refund,
            Self::Recurrent(_) => Kind::Recurrent,
            Self::Cancel(_) => Kind::Cancel,
            Self::Receipt(_) => Kind::Receipt,
        }
    }
}

/// Why a body is no notification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Larger than [`MAX_BODY`].
    #[error("body larger than {MAX_BODY} bytes")]
    TooLarge,
    /// Said to be JSON, but no JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// A required field is missing or unreadable.
    #[error("{0} is missing or unreadable")]
    Field(&'static str),
}

/// Reads the body of a POST, a form or JSON by its `Content-Type`; the query of a GET reads like a
/// form. Fields that are neither required nor readable are left out.
pub fn parse(kind: Kind, content_type: Option<&str>, body: &[u8]) -> Result<Notification, ParseError> {
    if body.len() > MAX_BODY {
        return Err(ParseError::TooLarge);
    }
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let fields = if is_json(content_type, body) {
        Fields::from_json(body).map_err(|_| ParseError::NotJson)?
    } else {
        Fields::from_form(body)
    };
    Ok(match kind {
        Kind::Check => Notification::Check(Check::read(&fields)?.into()),
        Kind::Pay => Notification::Pay(Pay::read(&fields)?.into()),
        Kind::Fail => Notification::Fail(Fail::read(&fields)?.into()),
        Kind::Confirm => Notification::Confirm(Confirm::read(&fields)?.into()),
        Kind::Refund => Notification::Refund(Refund::read(&fields)?.into()),
        Kind::Recurrent => Notification::Recurrent(Recurrent::read(&fields)?.into()),
        Kind::Cancel => Notification::Cancel(Cancel::read(&fields)?.into()),
        Kind::Receipt => Notification::Receipt(Receipt::read(&fields)?.into()),
    })
}

/// Stands before JSON that some servers write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// By the header; without one, by the first letter, which no form begins with.
fn is_json(content_type: Option<&str>, body: &[u8]) -> bool {
    match content_type {
        Some(content_type) => content_type.to_ascii_lowercase().contains("json"),
        None => body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii_start().starts_with(b"{"),
    }
}

/// What to answer, with HTTP 200. Anything but [`Reply::Accepted`] is for Check only, where it declines
/// the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    /// Taken note of; for Check: the payment may be made.
    Accepted = 0,
    /// There is no such invoice.
    WrongInvoice = 10,
    /// There is no such account.
    WrongAccount = 11,
    /// The amount is not the invoice's.
    WrongAmount = 12,
    /// The payment cannot be taken.
    NotAcceptable = 13,
    /// It is too late to pay the invoice.
    Expired = 20,
}

impl Reply {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The JSON to answer with.
    pub fn body(self) -> String {
        format!(r#"{{"code":{}}}"#, self.code())
    }
}
