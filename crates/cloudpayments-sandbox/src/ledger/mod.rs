//! The gateway's books as a pure state machine: no I/O, no clock, no randomness. Time is passed in.
//!
//! A command is handled in three steps, so that the ledger file can be written in the middle:
//!
//! 1. [`Ledger::decide`] looks at the books and says what would change and what to answer; nothing has happened yet.
//! 2. The caller writes the changes where they survive.
//! 3. [`Ledger::apply`] makes them true. Replaying a file is applying its changes again.

pub(crate) mod command;
mod decide;
pub(crate) mod notices;
mod query;
mod replies;
pub(crate) mod secret;
#[cfg(test)]
mod tests;
pub(crate) mod transaction;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::{
    notices::Site,
    replies::Replies,
    secret::Secret,
    transaction::{RequestId, Token, Transaction, TransactionId},
};
use crate::{
    cards::CardMask,
    cryptogram::PacketDigest,
    notification::{
        Kind,
        outbox::{Notice, Outbox, Try},
        settings::Settings,
    },
};

/// The answer to a command. Transactions are named by id, and shown as they are when the answer is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Pong(Uuid),
    Done,
    Transaction(TransactionId),
    ThreeDs(TransactionId),
    Refunded(TransactionId),
    Refused(String),
}

/// One step of the ledger. A command's changes are written and applied together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// New, or in a new state.
    Transaction(Box<Transaction>),
    Token(IssuedToken),
    Notice(Box<Notice>),
    Try(Try),
    Site {
        kind: Kind,
        settings: Settings,
    },
    Reply {
        request_id: RequestId,
        at: DateTime<Utc>,
        verdict: Verdict,
    },
}

/// A token is good for its account only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IssuedToken {
    pub(crate) token: Token,
    pub(crate) account_id: String,
    pub(crate) card: CardMask,
    pub(crate) holder_name: Option<String>,
}

/// What a command would do.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) changes: Vec<Change>,
    pub(crate) verdict: Verdict,
}

/// What is shown to the merchant: a snapshot, which later changes do not touch.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Pong(Uuid),
    Done,
    Transaction(Arc<Transaction>),
    ThreeDs(Arc<Transaction>),
    Refunded(TransactionId),
    Transactions(Vec<Arc<Transaction>>),
    Tokens(Vec<Arc<IssuedToken>>),
    Refused(String),
}

/// For logs: whom it concerns is left out.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pong(_) => f.write_str("pong"),
            Self::Done => f.write_str("done"),
            Self::Transaction(it) => write!(f, "transaction {} {}", it.id, it.recorded_status.name()),
            Self::ThreeDs(it) => write!(f, "transaction {} needs 3-D Secure", it.id),
            Self::Refunded(id) => write!(f, "refund {id}"),
            Self::Transactions(list) => write!(f, "{} transactions", list.len()),
            Self::Tokens(list) => write!(f, "{} tokens", list.len()),
            Self::Refused(message) => write!(f, "refused: {message}"),
        }
    }
}

/// An answer and the moment it was true.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) at: DateTime<Utc>,
}

pub(crate) struct Ledger {
    secret: Secret,
    /// The next transaction's id; they only grow.
    next_id: i64,
    transactions: BTreeMap<TransactionId, Arc<Transaction>>,
    by_invoice: HashMap<String, Vec<TransactionId>>,
    used_packets: HashSet<PacketDigest>,
    tokens: HashMap<Token, Arc<IssuedToken>>,
    /// In order of issue, for `/payments/tokens/list`.
    issued: Vec<Token>,
    replies: Replies,
    site: Site,
    outbox: Outbox,
    /// More transactions than this are not kept: the oldest are forgotten.
    capacity: usize,
}

impl Ledger {
    /// `first_id` begins the numbering. Taken from the clock it stays above the ids of an earlier ledger that was not
    /// kept, so a merchant who stores ids as unique never sees one twice.
    pub(crate) fn new(secret: Secret, first_id: i64, capacity: usize, site: Site) -> Self {
        Self {
            secret,
            next_id: first_id,
            transactions: BTreeMap::new(),
            by_invoice: HashMap::new(),
            used_packets: HashSet::new(),
            tokens: HashMap::new(),
            issued: Vec::new(),
            replies: Replies::default(),
            site,
            outbox: Outbox::default(),
            capacity,
        }
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The remembered answer to a request id, for an hour after it was given.
    pub(crate) fn replay(&self, request_id: &RequestId, now: DateTime<Utc>) -> Option<Reply> {
        self.replies.get(request_id, now).cloned()
    }

    pub(crate) fn get(&self, id: TransactionId) -> Option<&Arc<Transaction>> {
        self.transactions.get(&id)
    }

    /// In order of creation.
    pub(crate) fn transactions(&self) -> impl DoubleEndedIterator<Item = &Arc<Transaction>> {
        self.transactions.values()
    }

    /// Keeps an id for a payment that is being checked.
    pub(crate) fn keep_id(&mut self) -> TransactionId {
        let id = TransactionId(self.next_id);
        self.next_id += 1;
        id
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// For whoever sends: what is taken is under way, which no file remembers.
    pub(crate) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Makes one change true.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Transaction(transaction) => self.put(*transaction),
            Change::Token(issued) => {
                if !self.tokens.contains_key(&issued.token) {
                    self.issued.push(issued.token.clone());
                    self.tokens.insert(issued.token.clone(), Arc::new(issued));
                }
            }
            Change::Notice(notice) => self.outbox.add(*notice, self.capacity),
            Change::Try(tried) => self.outbox.tried(tried),
            Change::Site { kind, settings } => self.site.set(kind, settings),
            Change::Reply { request_id, at, verdict } => {
                let reply = Reply { answer: self.answer(verdict), at };
                self.replies.remember(request_id, reply, self.capacity);
            }
        }
    }

    /// The verdict with what it speaks of.
    pub(crate) fn answer(&self, verdict: Verdict) -> Answer {
        let show = |id, as_answer: fn(Arc<Transaction>) -> Answer| match self.get(id) {
            Some(transaction) => as_answer(Arc::clone(transaction)),
            None => Answer::Refused("Transaction not found".to_owned()),
        };
        match verdict {
            Verdict::Pong(id) => Answer::Pong(id),
            Verdict::Done => Answer::Done,
            Verdict::Transaction(id) => show(id, Answer::Transaction),
            Verdict::ThreeDs(id) => show(id, Answer::ThreeDs),
            Verdict::Refunded(id) => Answer::Refunded(id),
            Verdict::Refused(message) => Answer::Refused(message),
        }
    }

    fn put(&mut self, transaction: Transaction) {
        let id = transaction.id;
        self.next_id = self.next_id.max(id.0 + 1);
        let (invoice_id, packet) = (transaction.purpose.invoice_id.clone(), transaction.packet.clone());
        if self.transactions.insert(id, Arc::new(transaction)).is_some() {
            return;
        }
        if let Some(invoice_id) = invoice_id {
            self.by_invoice.entry(invoice_id).or_default().push(id);
        }
        self.used_packets.extend(packet);
        while self.transactions.len() > self.capacity {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((id, oldest)) = self.transactions.pop_first() else { return };
        if let Some(packet) = &oldest.packet {
            self.used_packets.remove(packet);
        }
        if let Some(invoice_id) = &oldest.purpose.invoice_id
            && let Some(ids) = self.by_invoice.get_mut(invoice_id)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_invoice.remove(invoice_id);
            }
        }
    }
}
