//! What the gateway tells by itself, and what follows from it. Pure.
//!
//! A notification comes at least once, in any order, before or after the gateway's response to us, or not at all. So it is
//! held against the attempt as it is then, by the same comparison as a response ([`identity`](crate::payment::identity)),
//! and what it means is either what a response would mean, or a reason to ask the gateway, or nothing new.

mod check;
mod notice;
mod plan;

pub use self::check::{Asked, CheckReply, check};
pub use self::notice::{Fiscal, Ids, Notice};
pub use self::plan::{Plan, plan};
use crate::macros::text_enum;

text_enum! {
    /// What a notification is about. A check is none of these: it is answered and not kept.
    pub enum NoticeKind {
        /// Money was taken, or is held.
        Pay = "pay",
        /// An operation was declined. Not yet the end of the attempt: the gateway may try another bank.
        Fail = "fail",
        /// Held money was taken.
        Confirm = "confirm",
        /// Money went back.
        Refund = "refund",
        /// A subscription kept by the gateway changed.
        Recurrent = "recurrent",
        /// Held money was let go.
        Cancel = "cancel",
        /// A fiscal receipt was made.
        Receipt = "receipt",
    }
}

text_enum! {
    /// What came of a notification.
    pub enum NoticeEffect {
        /// It moved the attempt.
        Applied = "applied",
        /// All of it was known.
        NothingNew = "nothing_new",
        /// The gateway is asked what became of the attempt.
        Look = "look",
        /// It fits nothing, and is kept for a person.
        Orphan = "orphan",
        /// It is kept to be read.
        Stored = "stored",
    }
}
