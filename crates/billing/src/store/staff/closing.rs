//! A payment in doubt that two people close by what the gateway's own cabinet shows of it. One asks, another agrees; each has
//! seen all that follows. What is done is what a response of the gateway would do, so whatever the gateway says of it later
//! finds the payment as it would after such a response: no money is lost, and none is taken twice.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{By, Entry, StoreError, audit};
use crate::cipher::Cipher;
use crate::event::Event;
use crate::macros::text_enum;
use crate::payment::PaymentState;
use crate::payment::evidence::{Ending, Evidence, NotByHand};
use crate::schema::payment_closing;
use crate::store::events;
use crate::store::journal::{self, Posted};
use crate::store::payments::PaymentView;
use crate::store::payments::apply::take;
use crate::store::payments::load::{Locked, lock};
use crate::store::subscriptions::{self, Subscription};
use crate::{Kopecks, PaymentId};

/// Whoever is asked to agree has so long.
pub const AGREED_WITHIN: TimeDelta = TimeDelta::hours(24);

text_enum! {
    /// How far a closing by hand is.
    pub enum ClosingState {
        /// A second person is to agree.
        Waiting = "waiting",
        Done = "done",
        Withdrawn = "withdrawn",
        /// Nobody agreed in time.
        Expired = "expired",
    }
}

/// What closings by hand are judged by.
#[derive(Debug, Clone, Copy)]
pub struct ClosingRules<'a> {
    /// How long after the last request one that is shown nowhere was not executed.
    pub not_executed_after: TimeDelta,
    /// On whose days the gateway's cabinet is read.
    pub zone: Tz,
    pub cipher: &'a Cipher,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct AskClosing {
    /// Of the form: the same form asks once.
    pub id: Uuid,
    pub payment_id: PaymentId,
    pub evidence: Evidence,
}

/// What closing it would do.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosingPreview {
    pub payment: (PaymentState, PaymentState),
    pub before: Subscription,
    pub after: Subscription,
    /// What would be written to the log of events, and so be told to others.
    pub events: Vec<Event>,
    /// What would be entered in the ledger.
    pub entries: Vec<Posted>,
    /// Of what it began from.
    pub digest: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum ClosingDone {
    Now,
    /// It was done before, by the same person.
    Before,
    /// Rows have changed since the preview; nothing was done.
    Changed(Box<ClosingPreview>),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ClosingError {
    #[error("there is no payment {0}")]
    UnknownPayment(PaymentId),
    #[error("there is no closing {0}")]
    Unknown(Uuid),
    #[error(transparent)]
    NotByHand(#[from] NotByHand),
    /// The evidence is of something else: why, in the words of the payment's last remark.
    #[error("it would stay in doubt: {0}")]
    NotProved(String),
    /// Another closing of the payment waits to be agreed to.
    #[error("closing {0} of it waits already")]
    AskedAlready(Uuid),
    #[error("whoever agrees must be another person")]
    SamePerson,
    #[error("it is {0}")]
    NotWaiting(ClosingState),
    /// The id of the form was used for another closing.
    #[error("the form was used for something else")]
    FormReused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for ClosingError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A closing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = payment_closing, check_for_backend(diesel::pg::Pg))]
pub struct Closing {
    pub id: Uuid,
    pub payment_id: PaymentId,
    pub asked_at: DateTime<Utc>,
    pub asked_by: String,
    pub ending: Ending,
    pub transaction_id: Option<i64>,
    pub happened_on: Option<NaiveDate>,
    pub amount: Option<Kopecks>,
    pub reason_code: Option<i32>,
    pub said: String,
    pub state: ClosingState,
    pub ended_at: Option<DateTime<Utc>>,
    pub ended_by: Option<String>,
}

impl Closing {
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        Evidence {
            ending: self.ending,
            transaction_id: self.transaction_id,
            happened_on: self.happened_on,
            amount: self.amount,
            reason_code: self.reason_code,
            said: self.said.clone(),
        }
    }

    /// How far it is at `now`: what was not agreed to in time is over, though no row says so yet.
    #[must_use]
    pub fn state_at(&self, now: DateTime<Utc>) -> ClosingState {
        let is_late = self.state == ClosingState::Waiting && self.asked_at + AGREED_WITHIN <= now;
        if is_late { ClosingState::Expired } else { self.state }
    }
}

/// One closing.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn closing(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Option<Closing>, StoreError> {
    Ok(payment_closing::table.find(id).select(Closing::as_select()).first(conn).await.optional()?)
}

/// Those that were asked for of a payment, the last first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn closings_of(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Vec<Closing>, StoreError> {
    let of = payment_closing::table.filter(payment_closing::payment_id.eq(id));
    Ok(of.order(payment_closing::asked_at.desc()).select(Closing::as_select()).load(conn).await?)
}

/// Those that wait for somebody to agree, the oldest first; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn closings_waiting(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Closing>, StoreError> {
    let waiting = payment_closing::table.filter(payment_closing::state.eq(ClosingState::Waiting));
    let waiting = waiting.filter(payment_closing::asked_at.gt(now - AGREED_WITHIN));
    Ok(waiting.order(payment_closing::asked_at).limit(limit).select(Closing::as_select()).load(conn).await?)
}

/// Ends a transaction whose work is taken back.
enum TakenBack {
    Shown(Box<ClosingPreview>),
    Failed(ClosingError),
}

impl<E: Into<ClosingError>> From<E> for TakenBack {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Shows what closing a payment by this evidence would do. Changes nothing.
///
/// # Errors
/// [`ClosingError`].
pub async fn preview_closing(
    conn: &mut AsyncPgConnection,
    payment_id: PaymentId,
    evidence: &Evidence,
    rules: ClosingRules<'_>,
    now: DateTime<Utc>,
) -> Result<ClosingPreview, ClosingError> {
    let tried = conn
        .transaction::<(), TakenBack, _>(async |conn| {
            let locked = lock(conn, payment_id).await?.ok_or(ClosingError::UnknownPayment(payment_id))?;
            Err(TakenBack::Shown(Box::new(attempt(conn, locked, evidence, rules, now).await?)))
        })
        .await;
    match tried {
        Err(TakenBack::Shown(preview)) => Ok(*preview),
        Err(TakenBack::Failed(error)) => Err(error),
        Ok(()) => unreachable!("it is always taken back"),
    }
}

/// Asks for it, if that is what was shown: once for each form, with a line in the audit log. Nothing is done to the payment.
///
/// # Errors
/// [`ClosingError`].
pub async fn ask_closing(
    conn: &mut AsyncPgConnection,
    ask: &AskClosing,
    digest: &str,
    rules: ClosingRules<'_>,
    by: &By,
    now: DateTime<Utc>,
) -> Result<ClosingDone, ClosingError> {
    let asked = conn
        .transaction::<ClosingDone, TakenBack, _>(async |conn| {
            if let Some(known) = closing(conn, ask.id).await? {
                return Ok(same_form(&known, ask, by)?);
            }
            // What is no evidence is refused before it is written down.
            let preview = preview_closing(conn, ask.payment_id, &ask.evidence, rules, now).await?;
            if preview.digest != digest {
                return Err(TakenBack::Shown(Box::new(preview)));
            }
            if !is_first(conn, ask, by, now).await? {
                return Ok(ClosingDone::Before);
            }
            let payment = ask.payment_id.to_string();
            let entry = Entry::new("closing_asked").target("payment", &payment).reason(&ask.evidence.said);
            let entry = entry.before(facts(preview.payment.0, &preview.before));
            let after = with_evidence(facts(preview.payment.1, &preview.after), &ask.evidence);
            audit(conn, by, &entry.after(after), now).await?;
            Ok(ClosingDone::Now)
        })
        .await;
    done(asked)
}

/// The second person agrees to what they were shown, and the payment is closed.
///
/// # Errors
/// [`ClosingError`].
pub async fn approve_closing(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    digest: &str,
    rules: ClosingRules<'_>,
    by: &By,
    now: DateTime<Utc>,
) -> Result<ClosingDone, ClosingError> {
    let approved = conn
        .transaction::<ClosingDone, TakenBack, _>(async |conn| {
            let payment_id = closing(conn, id).await?.ok_or(ClosingError::Unknown(id))?.payment_id;
            // The account first, as everywhere.
            let locked = lock(conn, payment_id).await?.ok_or(ClosingError::UnknownPayment(payment_id))?;
            let asked = payment_closing::table.find(id).select(Closing::as_select()).for_update();
            let asked: Closing = asked.first(conn).await?;
            if asked.state == ClosingState::Done && asked.ended_by.as_deref() == Some(&by.name) {
                return Ok(ClosingDone::Before);
            }
            match asked.state_at(now) {
                ClosingState::Waiting => {}
                state => return Err(ClosingError::NotWaiting(state).into()),
            }
            if asked.asked_by == by.name {
                return Err(ClosingError::SamePerson.into());
            }
            let evidence = asked.evidence();
            let preview = attempt(conn, locked, &evidence, rules, now).await?;
            if preview.digest != digest {
                return Err(TakenBack::Shown(Box::new(preview)));
            }
            end(conn, id, ClosingState::Done, &by.name, now).await?;
            let payment = payment_id.to_string();
            let entry = Entry::new("closing_approved").target("payment", &payment).reason(&evidence.said);
            let entry = entry.before(facts(preview.payment.0, &preview.before));
            let after = with_evidence(facts(preview.payment.1, &preview.after), &evidence);
            audit(conn, by, &entry.after(after), now).await?;
            Ok(ClosingDone::Now)
        })
        .await;
    done(approved)
}

/// It is taken back before anybody agreed, by whoever asked or whoever was to agree.
///
/// # Errors
/// [`ClosingError`].
pub async fn withdraw_closing(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    by: &By,
    now: DateTime<Utc>,
) -> Result<(), ClosingError> {
    conn.transaction(async |conn| {
        let asked = payment_closing::table.find(id).select(Closing::as_select()).for_update();
        let asked: Closing = asked.first(conn).await.optional()?.ok_or(ClosingError::Unknown(id))?;
        match asked.state_at(now) {
            ClosingState::Waiting => {}
            ClosingState::Withdrawn => return Ok(()),
            state => return Err(ClosingError::NotWaiting(state)),
        }
        end(conn, id, ClosingState::Withdrawn, &by.name, now).await?;
        let payment = asked.payment_id.to_string();
        audit(conn, by, &Entry::new("closing_withdrawn").target("payment", &payment), now).await?;
        Ok(())
    })
    .await
}

fn done(of: Result<ClosingDone, TakenBack>) -> Result<ClosingDone, ClosingError> {
    match of {
        Ok(done) => Ok(done),
        Err(TakenBack::Shown(preview)) => Ok(ClosingDone::Changed(preview)),
        Err(TakenBack::Failed(error)) => Err(error),
    }
}

/// Whether no form of this id has asked. Another that waits for the same payment stands in its way.
async fn is_first(
    conn: &mut AsyncPgConnection,
    ask: &AskClosing,
    by: &By,
    now: DateTime<Utc>,
) -> Result<bool, ClosingError> {
    let waiting = payment_closing::table
        .filter(payment_closing::payment_id.eq(ask.payment_id))
        .filter(payment_closing::state.eq(ClosingState::Waiting));
    let late = waiting.filter(payment_closing::asked_at.le(now - AGREED_WITHIN));
    diesel::update(late)
        .set((payment_closing::state.eq(ClosingState::Expired), payment_closing::ended_at.eq(now)))
        .execute(conn)
        .await?;
    let Evidence { ending, transaction_id, happened_on, amount, reason_code, said } = &ask.evidence;
    let inserted = diesel::insert_into(payment_closing::table)
        .values((
            payment_closing::id.eq(ask.id),
            payment_closing::payment_id.eq(ask.payment_id),
            payment_closing::asked_at.eq(now),
            payment_closing::asked_by.eq(&by.name),
            payment_closing::ending.eq(ending),
            payment_closing::transaction_id.eq(transaction_id),
            payment_closing::happened_on.eq(happened_on),
            payment_closing::amount.eq(amount),
            payment_closing::reason_code.eq(reason_code),
            payment_closing::said.eq(said.trim()),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if inserted > 0 {
        return Ok(true);
    }
    match closing(conn, ask.id).await? {
        Some(known) => same_form(&known, ask, by).map(|_| false),
        None => {
            let other: Option<Uuid> = waiting.select(payment_closing::id).first(conn).await.optional()?;
            Err(other.map_or(ClosingError::FormReused, ClosingError::AskedAlready))
        }
    }
}

/// A form that has asked is sent again.
fn same_form(known: &Closing, ask: &AskClosing, by: &By) -> Result<ClosingDone, ClosingError> {
    if known.payment_id == ask.payment_id && known.asked_by == by.name {
        Ok(ClosingDone::Before)
    } else {
        Err(ClosingError::FormReused)
    }
}

async fn end(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    state: ClosingState,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::update(payment_closing::table.find(id))
        .set((payment_closing::state.eq(state), payment_closing::ended_at.eq(now), payment_closing::ended_by.eq(by)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Closes it, and tells what that did.
async fn attempt(
    conn: &mut AsyncPgConnection,
    locked: Locked,
    evidence: &Evidence,
    rules: ClosingRules<'_>,
    now: DateTime<Utc>,
) -> Result<ClosingPreview, ClosingError> {
    let (account_id, payment_id) = (locked.account.id, locked.payment.id);
    let attempt = locked.attempt();
    let made_at = locked.payment.created_at;
    let outcome = evidence.outcome(&attempt, made_at, rules.not_executed_after, rules.zone, now)?;
    let before = read(conn, account_id, payment_id).await?;
    let last = events::story_of_account(conn, account_id, None, 1).await?;
    let last = last.iter().map(|event| event.id).max().unwrap_or_default();
    let entered = journal::postings_of(conn, payment_id).await?;
    let view = PaymentView::from_rows(&locked.account, &locked.bill, &locked.payment);
    let applied = take(conn, locked, outcome, rules.cipher, now).await?.payment;
    if applied.state == PaymentState::Unknown {
        return Err(ClosingError::NotProved(applied.info.unwrap_or_default()));
    }
    let after = read(conn, account_id, payment_id).await?;
    let story = events::story_of_account(conn, account_id, None, 50).await?;
    let events = story.into_iter().take_while(|event| event.id > last).collect::<Vec<_>>().into_iter().rev().collect();
    let entries = journal::postings_of(conn, payment_id).await?;
    let entries = entries.into_iter().filter(|posted| !entered.contains(posted)).collect();
    // In what words it is told makes no difference to what is done.
    let told = Evidence { said: String::new(), ..evidence.clone() };
    let digest = Sha256::digest(format!("{told:?} {view:?} {before:?}").as_bytes());
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ClosingPreview { payment: (attempt.state, applied.state), before, after, events, entries, digest })
}

async fn read(conn: &mut AsyncPgConnection, id: crate::AccountId, of: PaymentId) -> Result<Subscription, ClosingError> {
    subscriptions::get(conn, id).await?.ok_or(ClosingError::UnknownPayment(of))
}

/// What the audit log keeps.
fn facts(state: PaymentState, of: &Subscription) -> Value {
    json!({
        "payment": state.as_str(),
        "status": of.account.status.as_str(),
        "paid_until": of.account.paid_until,
        "access_until": of.account.access_until,
        "next_charge_at": of.account.next_charge_at,
    })
}

fn with_evidence(facts: Value, evidence: &Evidence) -> Value {
    let mut facts = facts;
    facts["transaction_id"] = json!(evidence.transaction_id);
    facts["happened_on"] = json!(evidence.happened_on);
    facts["reason_code"] = json!(evidence.reason_code);
    facts
}
