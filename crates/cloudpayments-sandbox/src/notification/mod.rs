//! Notifications ("уведомления"): what the gateway tells a shop by itself. What is told, how it is written and signed, and
//! when it is told again are pure; [`crate::http::sender`] does the sending.

pub(crate) mod body;
pub(crate) mod content;
pub(crate) mod outbox;
pub(crate) mod reply;
pub(crate) mod settings;

use serde::{Deserialize, Serialize};

/// What a notification is about. Each kind has settings of its own, its address among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Before the bank is asked: the shop may refuse the payment.
    Check,
    Pay,
    Fail,
    Confirm,
    Refund,
    Recurrent,
    Cancel,
    Receipt,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] =
        [Self::Check, Self::Pay, Self::Fail, Self::Confirm, Self::Refund, Self::Recurrent, Self::Cancel, Self::Receipt];

    /// As in `/site/notifications/{Type}/get`.
    pub(crate) const fn name(self) -> &'static str {
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

    /// In any case: the documentation writes both `pay` and `Pay`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}
