//! One attempt to collect a bill, as a state machine. Pure: no I/O, no clock, no `async`.
//!
//! Three rules outrank every other:
//! * **success is absorbing** – money that moved is never forgotten, whatever was believed before;
//! * **unknown is never failed by age** – only by evidence from the gateway;
//! * **money nobody owes goes back** – a success on a bill already settled is a duplicate, to be refunded.

pub mod evidence;
mod expiry;
pub mod identity;
pub mod operation;
mod outcome;
mod table;
mod transitions;

use chrono::{DateTime, Utc};

pub use self::outcome::{CardMask, Outcome, OutcomeKind};
pub use self::transitions::{IllegalTransition, SecondTransaction};
use crate::bill::TrialRefusal;
use crate::decline::DeclineGroup;
use crate::macros::text_enum;
use crate::{BillId, Currency, Kopecks, PaymentId};

text_enum! {
    /// Where an attempt stands. The texts are the values of `payment.state`.
    pub enum PaymentState {
        /// Written down, not sent; nothing is at the gateway.
        Created = "created",
        /// The request is on its way, or its sender died on the way.
        Sending = "sending",
        /// The customer is on the bank's 3-D Secure page.
        AwaitingThreeDs = "awaiting_3ds",
        /// The page is answered; the answer is being passed on.
        PostingThreeDs = "posting_3ds",
        /// Sent, no answer: the gateway is asked until it is known what became of it.
        Unknown = "unknown",
        /// Held on the card, not yet taken.
        Authorized = "authorized",
        /// Taken.
        Succeeded = "succeeded",
        /// Taken, but the bill did not owe it: to be refunded.
        SucceededDuplicate = "succeeded_duplicate",
        /// Refused by the bank or the gateway.
        Declined = "declined",
        /// The gateway did not understand the request: our fault, no refusal of the card.
        Rejected = "rejected",
        /// 3-D Secure was never answered.
        Abandoned = "abandoned",
        /// Provably never executed: withdrawn before it was sent, or unknown to the gateway for good.
        NotExecuted = "not_executed",
        /// A hold that was released.
        Voided = "voided",
        /// The card was verified by a hold, which was released.
        Verified = "verified",
    }
}

impl PaymentState {
    /// While an attempt is live its bill takes no other.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(
            self,
            Self::Created
                | Self::Sending
                | Self::AwaitingThreeDs
                | Self::PostingThreeDs
                | Self::Unknown
                | Self::Authorized
        )
    }

    /// Money was taken.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::SucceededDuplicate)
    }

    /// Over without money taken. (Evidence to the contrary still wins later.)
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !self.is_live() && !self.is_success()
    }

    /// Whether an attempt can still be stopped by us alone: it was not sent, or waits for a page whose answer we need
    /// not pass on. Such a one makes way when money comes for an earlier attempt that was believed dead.
    #[must_use]
    pub const fn makes_way(self) -> bool {
        matches!(self, Self::Created | Self::AwaitingThreeDs)
    }

    /// The original's `is_success`: null while undecided.
    #[must_use]
    pub const fn verdict(self) -> Option<bool> {
        match self {
            _ if self.is_success() => Some(true),
            _ if self.is_failure() => Some(false),
            _ => None,
        }
    }
}

text_enum! {
    /// What an attempt charges.
    pub enum Instrument {
        /// A card the customer has just typed in.
        Cryptogram = "cryptogram",
        /// The card kept at the gateway, without the customer.
        Token = "token",
    }
}

/// The state of an attempt and all that its next state depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: PaymentId,
    pub bill_id: BillId,
    pub state: PaymentState,
    pub instrument: Instrument,
    pub amount: Kopecks,
    pub currency: Currency,
    /// Whether the bill still owes this money: neither settled, nor void, nor being charged by another attempt. Read
    /// with the row, under the account's lock.
    pub owed: bool,
    /// It only verifies a card: money is held and let go, and never taken.
    pub verifies: bool,
    /// Why no trial begins with it although its card is good.
    pub trial_refused: Option<TrialRefusal>,
    /// The gateway's number.
    pub transaction_id: Option<i64>,
    /// How many times the charge was sent, each time with the same request id. What was provably not processed does
    /// not count.
    pub sends: i32,
    /// When the request that is now in question – the charge, or after the bank's page its answer – was first sent.
    pub first_sent_at: Option<DateTime<Utc>>,
    pub last_sent_at: Option<DateTime<Utc>>,
    /// How many times the answer of the 3-D Secure page was passed on.
    pub posts: i32,
    pub three_ds: Option<ThreeDs>,
    pub decline: Option<Decline>,
    /// When to turn to it again: to send what the gateway put off, to ask about what is in doubt. An attempt in doubt
    /// without it waits for a person.
    pub look_again_at: Option<DateTime<Utc>>,
    /// When both searches of the gateway first showed nothing of it.
    pub absent_at: Option<DateTime<Utc>>,
    pub card: Option<CardMask>,
    /// The last remark: a gateway message, or why nothing came.
    pub info: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Payment {
    /// Whether the charge may still have to be sent: until then its cryptogram is kept.
    #[must_use]
    pub const fn needs_cryptogram(&self) -> bool {
        let may_send = matches!(self.state, PaymentState::Created | PaymentState::Sending | PaymentState::Unknown);
        may_send && self.posts == 0 && matches!(self.instrument, Instrument::Cryptogram)
    }

    /// The refusal in the group that the rules of the day put its code into.
    #[must_use]
    pub fn judged_as(self, group: DeclineGroup) -> Self {
        let decline = self.decline.map(|decline| Decline { group, ..decline });
        Self { decline, ..self }
    }

    /// Whether the answer of the bank's page may still have to be passed on: until then it is kept.
    #[must_use]
    pub const fn needs_pa_res(&self) -> bool {
        match self.state {
            PaymentState::PostingThreeDs => true,
            PaymentState::Unknown => self.posts > 0,
            _ => false,
        }
    }
}

/// What the customer's browser needs for the bank's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreeDs {
    /// Where the browser posts to.
    pub acs_url: String,
    /// The field `PaReq`.
    pub pa_req: String,
    /// An answer after this time is not taken any more.
    pub expires_at: DateTime<Utc>,
}

/// Why the charge was refused, in the gateway's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decline {
    /// The gateway's reason code, as in 5051.
    pub code: i32,
    pub group: DeclineGroup,
    /// The gateway's name of the reason, as in `InsufficientFunds`.
    pub reason: String,
    /// The text meant for the card holder.
    pub message: String,
    /// When the gateway allows another try.
    pub retry_after: Option<DateTime<Utc>>,
}

/// The texts of a gateway are cut here: it is not for it to decide how much we store.
const MAX_TEXT: usize = 1_000;

/// `text`, at most [`MAX_TEXT`] characters of it.
fn clip(text: &str) -> String {
    storable(text).chars().take(MAX_TEXT).collect()
}

/// `text` without NUL, which PostgreSQL cannot keep: no answer of a gateway must be one that cannot be written down.
fn storable(text: &str) -> String {
    text.replace('\0', "")
}
