//! What comes of a notification, in one transaction with the rows it moves.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::super::orphans::{self, Orphan};
use super::super::payments::apply::take;
use super::super::payments::load::{Locked, lock_known};
use super::super::payments::{PaymentView, look};
use super::{NoticeKey, find, row};
use crate::cipher::Cipher;
use crate::notification::{Notice, NoticeEffect, Plan, plan};
use crate::payment::identity::{Identity, Terminal};
use crate::payment::{Outcome, PaymentState};
use crate::schema::notification;
use crate::store::payments::Effect;
use crate::store::receipts;
use crate::store::refunds::{self, GatewayRefund, KnownFrom, Recognised};
use crate::{Kopecks, PaymentId};

/// What notifications are acted on by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What kind of terminal ours is.
    pub terminal: Terminal,
    /// How long the response to our own request is waited for before the gateway is asked what a notification means.
    pub patience: TimeDelta,
    /// On whose days the ledger counts what is no account's.
    pub zone: Tz,
}

/// What came of a notification, and what others are to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acted {
    /// `None`: nothing yet.
    pub effect: Option<NoticeEffect>,
    /// The attempt it is of, and where that stands now.
    pub payment: Option<(PaymentId, PaymentState)>,
    pub effects: Vec<Effect>,
    /// What a person must look at, told once: the gateway's number and what is strange.
    pub strange: Option<(Option<i64>, String)>,
    /// When the gateway is to be asked about the attempt.
    pub look_at: Option<DateTime<Utc>>,
}

impl Acted {
    /// Whether a row of the payment has changed.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        matches!(self.effect, Some(NoticeEffect::Applied))
    }

    /// Tells the log, loudly what a person must do something about.
    pub fn tell(&self, key: &NoticeKey) {
        let payment_id = self.payment.map(|(id, _)| id.to_string());
        if let Some((transaction_id, what)) = &self.strange {
            tracing::error!(
                notification = %key,
                payment_id,
                transaction_id,
                what,
                "a notification that fits nothing: it pays for nothing, a person must look"
            );
        }
        self.effects.iter().for_each(Effect::tell);
        let effect = self.effect.map(NoticeEffect::as_str);
        tracing::debug!(notification = %key, payment_id, effect, "a notification was taken");
    }
}

/// Lets a notification that was [received](super::receive) have its effect. One that had it has no other.
///
/// # Errors
/// [`StoreError`]; then nothing has come of it, and it is tried again.
pub async fn act(
    conn: &mut AsyncPgConnection,
    key: &NoticeKey,
    rules: Rules,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Acted, StoreError> {
    conn.transaction(async |conn| {
        let told: Option<serde_json::Value> = row(key).select(notification::told).first(conn).await.optional()?;
        let Some(told) = told else { return Ok(Acted::default()) };
        let notice: Notice = serde_json::from_value(told).unwrap_or_default();
        // The account first, as everywhere; then the notification.
        let locked = match find::payment_of(conn, key.kind, &notice).await? {
            Some(id) => Some(lock_known(conn, id).await?),
            None => None,
        };
        let standing = row(key).filter(notification::effect.is_null()).select(notification::token).for_update();
        let standing: Option<Option<String>> = standing.first(conn).await.optional()?;
        let Some(sealed) = standing else { return Ok(Acted::default()) };

        let acting = Acting { key, notice: &notice, rules, sealed: sealed.as_deref(), cipher, now };
        let payment_id = locked.as_ref().map(|locked| locked.payment.id);
        let acted = acting.take_effect(conn, locked).await?;
        let ended = acted.effect.is_some();
        diesel::update(row(key))
            .set((
                notification::payment_id.eq(payment_id),
                notification::effect.eq(acted.effect),
                notification::effected_at.eq(ended.then_some(now)),
                notification::token.eq(sealed.filter(|_| !ended)),
                notification::told.eq(diesel::dsl::sql::<diesel::sql_types::Jsonb>("told - 'card'")),
            ))
            .execute(conn)
            .await?;
        Ok(acted)
    })
    .await
}

/// One notification, and what it is acted on with.
struct Acting<'a> {
    key: &'a NoticeKey,
    notice: &'a Notice,
    rules: Rules,
    sealed: Option<&'a str>,
    cipher: &'a Cipher,
    now: DateTime<Utc>,
}

impl Acting<'_> {
    async fn take_effect(&self, conn: &mut AsyncPgConnection, locked: Option<Locked>) -> Result<Acted, StoreError> {
        let standing = locked.as_ref().map(|locked| (locked.attempt(), self.identity(locked)));
        let plan = plan(self.key.kind, self.notice, standing.as_ref().map(|(attempt, ours)| (attempt, ours)));
        let payment = locked.as_ref().map(|locked| (locked.payment.id, locked.payment.state));
        let nothing_new = Acted { effect: Some(NoticeEffect::NothingNew), payment, ..Acted::default() };
        match (plan, locked) {
            (Plan::Take { outcome, strange }, Some(locked)) => self.take(conn, locked, outcome, strange).await,
            (Plan::Look { strange }, Some(locked)) => self.look(conn, locked, strange).await,
            (Plan::LeavePage, Some(locked)) => {
                let look_at = look::leave_page(conn, &locked, self.now).await?;
                Ok(Acted { effect: Some(NoticeEffect::Look), look_at, ..nothing_new })
            }
            (Plan::PutOff { until }, Some(mut locked)) => {
                locked.put_off(conn, until, self.now).await?;
                Ok(Acted { effect: Some(NoticeEffect::Applied), ..nothing_new })
            }
            (Plan::Orphan { what }, locked) => {
                let strange = self.set_aside(conn, locked.as_ref(), what).await?;
                Ok(Acted { effect: Some(NoticeEffect::Orphan), strange, ..nothing_new })
            }
            (Plan::Store, Some(locked)) => {
                receipts::issued(conn, &locked, self.notice, &self.key.gateway_id, self.now).await?;
                Ok(Acted { effect: Some(NoticeEffect::Stored), ..nothing_new })
            }
            (Plan::Store, None) => Ok(Acted { effect: Some(NoticeEffect::Stored), ..nothing_new }),
            (Plan::Return, locked) => self.give_back(conn, locked, nothing_new).await,
            (Plan::NothingNew, _) | (_, None) => Ok(nothing_new),
        }
    }

    fn identity(&self, locked: &Locked) -> Identity {
        PaymentView::from_rows(&locked.account, &locked.bill, &locked.payment).identity(self.rules.terminal)
    }

    async fn take(
        &self,
        conn: &mut AsyncPgConnection,
        locked: Locked,
        outcome: Outcome,
        strange: Option<String>,
    ) -> Result<Acted, StoreError> {
        let strange = match strange {
            Some(what) => self.set_aside(conn, Some(&locked), what).await?,
            None => None,
        };
        let outcome = match self.sealed {
            Some(sealed) => outcome.with_token(self.cipher.open(self.key.place(), sealed)?),
            None => outcome,
        };
        let before = PaymentView::from_rows(&locked.account, &locked.bill, &locked.payment);
        let applied = take(conn, locked, outcome, self.cipher, self.now).await?;
        let is_news = applied.payment != before || !applied.effects.is_empty();
        Ok(Acted {
            effect: Some(if is_news { NoticeEffect::Applied } else { NoticeEffect::NothingNew }),
            payment: Some((applied.payment.id, applied.payment.state)),
            effects: applied.effects,
            strange,
            look_at: applied.payment.look_again_at.filter(|_| applied.payment.state == PaymentState::Unknown),
        })
    }

    async fn look(
        &self,
        conn: &mut AsyncPgConnection,
        locked: Locked,
        strange: Option<String>,
    ) -> Result<Acted, StoreError> {
        let strange = match strange {
            Some(what) => self.set_aside(conn, Some(&locked), what).await?,
            None => None,
        };
        let (id, state) = (locked.payment.id, locked.payment.state);
        let why = format!("the gateway has told of it ({}), and has not answered us", self.key.kind);
        let look_at = look::hasten(conn, locked, &why, self.rules.patience, self.now).await?;
        let state = if look_at.is_some() { PaymentState::Unknown } else { state };
        let effect = if look_at.is_some() { NoticeEffect::Look } else { NoticeEffect::NothingNew };
        Ok(Acted { effect: Some(effect), payment: Some((id, state)), strange, look_at, effects: Vec::new() })
    }

    /// What went back is known by its own number, from wherever; and that it went back proves that it was taken.
    async fn give_back(
        &self,
        conn: &mut AsyncPgConnection,
        locked: Option<Locked>,
        nothing_new: Acted,
    ) -> Result<Acted, StoreError> {
        let Some((gateway_tx_id, amount)) = self.notice.transaction_id.zip(self.notice.amount) else {
            let what = "a refund without a number, or of part of the least coin".to_owned();
            let strange = self.set_aside(conn, locked.as_ref(), what).await?;
            return Ok(Acted { effect: Some(NoticeEffect::Orphan), strange, ..nothing_new });
        };
        let told = GatewayRefund {
            gateway_tx_id,
            payment_tx_id: self.notice.payment_transaction_id,
            invoice_id: self.notice.invoice_id.clone(),
            account_id: self.notice.account_id.clone(),
            json_data: self.notice.data(),
            amount: Kopecks::new(amount),
        };
        let (effect, strange) = match refunds::recognise(conn, &told, KnownFrom::Notification, self.now).await? {
            Recognised::New(_) => (NoticeEffect::Applied, None),
            Recognised::Known(_) => (NoticeEffect::NothingNew, None),
            Recognised::Orphan { is_new } => {
                let what = "a refund that fits no payment of ours".to_owned();
                (NoticeEffect::Orphan, is_new.then_some((Some(gateway_tx_id), what)))
            }
        };
        let look_at = match locked {
            Some(locked) if effect == NoticeEffect::Applied => self.asked_about(conn, locked.payment.id).await?,
            _ => None,
        };
        Ok(Acted { effect: Some(effect), strange, look_at, ..nothing_new })
    }

    /// When the gateway is asked about a payment of which money went back, if it is in doubt.
    async fn asked_about(
        &self,
        conn: &mut AsyncPgConnection,
        id: PaymentId,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let locked = lock_known(conn, id).await?;
        if locked.payment.state == PaymentState::Unknown {
            return Ok(locked.payment.look_again_at);
        }
        let why = "the gateway has told of a refund of it, and has not answered us";
        look::hasten(conn, locked, why, self.rules.patience, self.now).await
    }

    /// Keeps it for a person, who is told of it once.
    async fn set_aside(
        &self,
        conn: &mut AsyncPgConnection,
        locked: Option<&Locked>,
        what: String,
    ) -> Result<Option<(Option<i64>, String)>, StoreError> {
        let what = format!("{}: {what}", self.key.kind);
        let Some(transaction_id) = self.notice.transaction_id else { return Ok(Some((None, what))) };
        let told = self.notice.clone().storable();
        let found = Orphan {
            payment_id: locked.map(|locked| locked.payment.id),
            transaction_id,
            what: what.clone(),
            status: told.status,
            invoice_id: told.invoice_id,
            account_id: told.account_id,
            amount: told.amount.map(Kopecks::new),
            currency: told.currency,
            test_mode: told.test_mode,
        };
        let Rules { terminal, zone, .. } = self.rules;
        let is_new = orphans::report_locked(conn, &found, locked, terminal, zone, self.now).await?;
        Ok(is_new.then_some((Some(transaction_id), what)))
    }
}
