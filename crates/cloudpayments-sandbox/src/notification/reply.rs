//! What a shop says to a notification.

use serde::{Deserialize, Serialize};

use crate::reason::Reason;

/// Largest reply that is looked at, in bytes.
pub(crate) const MAX_REPLY: usize = 64 * 1024;

/// How one sending ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// HTTP 200 and `{"code":…}`.
    Code(i64),
    /// HTTP 200 and something else.
    Unreadable,
    /// Another HTTP status.
    Status(u16),
    /// No connection, no reply in time, or one that broke off.
    Silence(String),
}

impl Outcome {
    /// `{"code":0}`, to the letter of the documentation a JSON object; what else it has is not heeded.
    pub(crate) fn of_reply(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Reply {
            code: i64,
        }
        if status != 200 {
            return Self::Status(status);
        }
        serde_json::from_slice(body).map_or(Self::Unreadable, |Reply { code }| Self::Code(code))
    }

    /// Heard and understood: never to be sent again.
    pub(crate) fn is_accepted(&self) -> bool {
        *self == Self::Code(0)
    }

    /// Why a payment whose check ended like this is declined; `None`: it goes on.
    pub(crate) fn declines(&self) -> Option<Reason> {
        match self {
            Self::Code(0) => None,
            Self::Code(10) => Some(Reason::INVALID_INVOICE_ID),
            Self::Code(11) => Some(Reason::INVALID_ACCOUNT_ID),
            Self::Code(12) => Some(Reason::INVALID_AMOUNT),
            Self::Code(13) => Some(Reason::NOT_ACCEPTED),
            Self::Code(20) => Some(Reason::OUT_OF_DATE),
            Self::Code(_) | Self::Unreadable => Some(Reason::FORMAT_ERROR),
            Self::Status(404 | 504 | 508) | Self::Silence(_) => Some(Reason::UNABLE_TO_CONNECT),
            Self::Status(_) => Some(Reason::UNAVAILABLE),
        }
    }

    /// For the statement page and logs.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Code(0) => "accepted".to_owned(),
            Self::Code(code) => format!("refused with code {code}"),
            Self::Unreadable => "reply is not {\"code\":0}".to_owned(),
            Self::Status(status) => format!("HTTP {status}"),
            Self::Silence(why) => why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_zero_is_an_acceptance() {
        assert!(Outcome::of_reply(200, br#"{"code":0}"#).is_accepted());
        assert!(Outcome::of_reply(200, b" {\"code\": 0, \"more\": []}\n").is_accepted());
        for body in ["", "0", "OK", r#"{"code":"0"}"#, r#"{"Code":0}"#, r#"{"code":13}"#, r#"{"code":null}"#] {
            assert!(!Outcome::of_reply(200, body.as_bytes()).is_accepted(), "{body}");
        }
        assert!(!Outcome::of_reply(201, br#"{"code":0}"#).is_accepted());
    }

    /// The table of the documentation ("Коды ответа на check").
    #[test]
    fn a_check_declines_by_the_documented_codes() {
        let code = |outcome: Outcome| outcome.declines().map(Reason::code);
        for (reply, reason) in [
            (0, None),
            (10, Some(3001)),
            (11, Some(3002)),
            (12, Some(3003)),
            (20, Some(3004)),
            (13, Some(3008)),
            (7, Some(3005)),
        ] {
            assert_eq!(code(Outcome::Code(reply)), reason, "{reply}");
        }
        assert_eq!(code(Outcome::Unreadable), Some(3005));
        for (status, reason) in [(500, 3006), (503, 3006), (404, 3007), (504, 3007), (508, 3007)] {
            assert_eq!(code(Outcome::Status(status)), Some(reason), "{status}");
        }
        assert_eq!(code(Outcome::Silence("no connection".to_owned())), Some(3007));
    }
}
