//! The gateway's books as a pure state machine: no I/O, no clock, no randomness. Time is passed in.
//!
//! A command is handled in three steps, so that the ledger file can be written in the middle:
//!
//! 1. [`Ledger::decide`] looks at the books and says what would change and what to answer; nothing has happened yet.
//! 2. The caller writes the changes where they survive.
//! 3. [`Ledger::apply`] makes them true. Replaying a file is applying its changes again.

mod agenda;
mod answer;
mod charging;
pub(crate) mod command;
mod decide;
pub(crate) mod notices;
pub(crate) mod order;
mod ordering;
pub(crate) mod past;
pub(crate) mod payout;
mod query;
pub(crate) mod receipt;
mod recurring;
mod replies;
pub(crate) mod secret;
pub(crate) mod subscription;
#[cfg(test)]
mod tests;
pub(crate) mod transaction;

pub(crate) use self::{
    agenda::Task,
    answer::{Answer, Reply, Verdict},
};

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use self::{
    agenda::Agenda,
    command::Query,
    notices::Site,
    order::{Order, OrderId},
    receipt::{Receipt, ReceiptId},
    replies::Replies,
    secret::Secret,
    subscription::{Subscription, SubscriptionId},
    transaction::{RequestId, Token, Transaction, TransactionId},
};
use crate::{
    cards::CardMask,
    cryptogram::PacketDigest,
    money::{Amount, Currency},
    notification::{
        Kind,
        outbox::{Notice, Outbox, Try},
        settings::Settings,
    },
    reason::Reason,
};

/// One step of the ledger. A command's changes are written and applied together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// New, or in a new state.
    Transaction(Box<Transaction>),
    Token(IssuedToken),
    TokenRule(TokenRule),
    Subscription(Box<Subscription>),
    Order(Box<Order>),
    Receipt(Box<Receipt>),
    Chargeback(Chargeback),
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

/// A token that is good for so many charges more, and then is declined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRule {
    pub(crate) token: Token,
    pub(crate) after: u32,
    pub(crate) reason: Reason,
}

/// A payment the bank took back ("претензия").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chargeback {
    pub(crate) id: String,
    pub(crate) transaction_id: TransactionId,
    pub(crate) amount: Amount,
    pub(crate) currency: Currency,
    /// Masked.
    pub(crate) card: String,
    pub(crate) at: DateTime<Utc>,
}

/// What a command would do.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) changes: Vec<Change>,
    pub(crate) verdict: Verdict,
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
    token_rules: HashMap<Token, TokenRule>,
    subscriptions: BTreeMap<SubscriptionId, Arc<Subscription>>,
    orders: BTreeMap<OrderId, Arc<Order>>,
    receipts: BTreeMap<ReceiptId, Arc<Receipt>>,
    chargebacks: Vec<Chargeback>,
    agenda: Agenda,
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
            token_rules: HashMap::new(),
            subscriptions: BTreeMap::new(),
            orders: BTreeMap::new(),
            receipts: BTreeMap::new(),
            chargebacks: Vec::new(),
            agenda: Agenda::default(),
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

    /// What happens next by itself, and when.
    pub(crate) fn next_task(&self) -> Option<&(DateTime<Utc>, Task)> {
        self.agenda.next()
    }

    /// The task turned out to be about nothing.
    pub(crate) fn drop_task(&mut self, task: Task) {
        self.agenda.set(task, None);
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
            Change::TokenRule(rule) => {
                self.token_rules.insert(rule.token.clone(), rule);
            }
            Change::Subscription(it) => {
                self.agenda.set(Task::ChargeSubscription(it.id.clone()), it.next_at);
                self.subscriptions.insert(it.id.clone(), Arc::from(it));
            }
            Change::Order(it) => {
                self.orders.insert(it.id.clone(), Arc::from(it));
            }
            Change::Receipt(it) => {
                let due = it.issued_at.is_none().then(|| it.queued_at + receipt::PRINTING);
                self.agenda.set(Task::IssueReceipt(it.id.clone()), due);
                self.receipts.insert(it.id.clone(), Arc::from(it));
            }
            Change::Chargeback(it) => self.chargebacks.push(it),
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
            Verdict::Subscription(id) => self.query(&Query::Subscription { id }, DateTime::UNIX_EPOCH),
            Verdict::Order(id) => match self.order(&id) {
                Some(order) => Answer::Order(Arc::clone(order)),
                None => Answer::Refused("Order not found".to_owned()),
            },
            Verdict::Receipt(id) => Answer::ReceiptQueued(id),
            Verdict::Refused(message) => Answer::Refused(message),
        }
    }

    fn put(&mut self, transaction: Transaction) {
        let id = transaction.id;
        self.next_id = self.next_id.max(id.0 + 1);
        self.agenda.set(Task::CancelAuthorization(id), transaction.expires_at());
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
        self.agenda.set(Task::CancelAuthorization(id), None);
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
