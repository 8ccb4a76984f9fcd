//! Looks at the gateway. Each payment has one chain of them, kept in its row: `look_again_at` says when the next look may
//! begin, whoever begins it moves that time on in the same transaction, and what the look taught sets the next. So neither
//! a tick of the timetable, nor a retry, nor a message that is delivered again, begins a second chain; and a look whose
//! worker died is begun again when its lease is over.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::{StoreError, circuits};
use super::PaymentView;
use super::apply::settle;
use super::load::{Locked, lock_known};
use super::trial::Brought;
use crate::PaymentId;
use crate::breaker::Circuit;
use crate::models::PaymentRow;
use crate::payment::{Outcome, PaymentState};
use crate::resolve;
use crate::schema::{payment, tries};

/// Whether to ask the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolve {
    Look(Box<Look>),
    /// There is no doubt, the next look is not due or another one is under way, its sender may still be waiting, or the
    /// gateway is left alone for now.
    NotNow(PaymentState),
}

/// A look that has begun. The payment is leased: nobody else looks meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub payment: PaymentView,
    /// Until when. It is in the row as the time of the next look, and so tells whose look it is.
    pub leased_until: DateTime<Utc>,
    /// How many looks in a row have taught nothing, if this one does not either.
    pub fruitless: i32,
}

/// Begins a look, if one is due: at a payment in doubt, at one whose 3-D Secure page is overdue or was given up, at one
/// sent before `sent_before` whose answer nobody wrote down, which is in doubt from now on.
///
/// The lease is as long as whoever sends may take, `now - sent_before`, and longer for what seems to kill its workers.
///
/// # Errors
/// [`StoreError`].
pub async fn begin_resolving(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    sent_before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Resolve, StoreError> {
    conn.transaction(async |conn| {
        let mut locked = lock_known(conn, id).await?;
        if has_lost_its_sender(&locked.payment, sent_before) {
            let why = "its sender wrote down no answer".to_owned();
            settle(conn, locked, Outcome::Unknown { why, look_again_at: now }, Brought::default(), now).await?;
            locked = lock_known(conn, id).await?;
        }
        if !is_due(&locked.payment, now) {
            return Ok(Resolve::NotNow(locked.payment.state));
        }
        if let Some(until) = circuits::get(conn, Circuit::Gateway).await?.rests_until(now) {
            diesel::update(payment::table.find(id)).set(payment::look_again_at.eq(until)).execute(conn).await?;
            return Ok(Resolve::NotNow(locked.payment.state));
        }
        let fruitless = count_look(conn, id).await?;
        let leased_until = now + resolve::lease(now - sent_before, fruitless);
        diesel::update(payment::table.find(id)).set(payment::look_again_at.eq(leased_until)).execute(conn).await?;
        Ok(Resolve::Look(Box::new(Look { payment: PaymentView::of(&locked), leased_until, fruitless })))
    })
    .await
}

/// Has the gateway asked soon what became of an attempt, for it has told that something has. Returns when; `None`: it is not
/// in doubt, or is being asked about already.
///
/// While the response to us may still come it is waited for a little, `patience`: it says the same, and costs no request.
pub(in crate::store) async fn hasten(
    conn: &mut AsyncPgConnection,
    locked: Locked,
    why: &str,
    patience: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let (id, state) = (locked.payment.id, locked.payment.state);
    let is_on_its_way =
        state == PaymentState::Sending || (state == PaymentState::PostingThreeDs && locked.payment.posts > 0);
    if is_on_its_way {
        let look_again_at = now + patience;
        settle(conn, locked, Outcome::Unknown { why: why.to_owned(), look_again_at }, Brought::default(), now).await?;
        return Ok(Some(look_again_at));
    }
    // One that waits for a person is not looked at again, and a look under way is not doubled.
    if state != PaymentState::Unknown || locked.payment.look_again_at.is_none_or(|at| at <= now) {
        return Ok(None);
    }
    let looking: i64 = tries::table.find(id).filter(tries::looks.gt(0)).count().get_result(conn).await?;
    if looking > 0 {
        return Ok(None);
    }
    diesel::update(payment::table.find(id)).set(payment::look_again_at.eq(now)).execute(conn).await?;
    Ok(Some(now))
}

/// The page that the customer is on leads nowhere any more: the gateway is asked what became of the attempt.
pub(in crate::store) async fn leave_page(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    if locked.payment.state != PaymentState::AwaitingThreeDs {
        return Ok(None);
    }
    let leaving = diesel::update(payment::table.find(locked.payment.id));
    leaving.set((payment::three_ds_expires_at.eq(now), payment::look_again_at.eq(now))).execute(conn).await?;
    Ok(Some(now))
}

fn has_lost_its_sender(row: &PaymentRow, sent_before: DateTime<Utc>) -> bool {
    let is_on_its_way =
        row.state == PaymentState::Sending || (row.state == PaymentState::PostingThreeDs && row.posts > 0);
    is_on_its_way && row.last_sent_at.is_some_and(|at| at <= sent_before)
}

fn is_due(row: &PaymentRow, now: DateTime<Utc>) -> bool {
    let has_come = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= now);
    match row.state {
        // Without a time it waits for a person.
        PaymentState::Unknown | PaymentState::Abandoned => has_come(row.look_again_at),
        PaymentState::AwaitingThreeDs => {
            has_come(row.three_ds_expires_at) && row.look_again_at.is_none_or(|at| at <= now)
        }
        _ => false,
    }
}

/// It may be the last thing that its worker does.
async fn count_look(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<i32, StoreError> {
    let counting = diesel::insert_into(tries::table)
        .values((tries::payment_id.eq(id), tries::looks.eq(1)))
        .on_conflict(tries::payment_id)
        .do_update()
        .set(tries::looks.eq(tries::looks + 1))
        .returning(tries::looks);
    Ok(counting.get_result(conn).await?)
}

impl Look {
    /// Goes on for longer. Returns whether it may: not if its lease was over and another look has begun, or the payment has
    /// come to its end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn extend(&mut self, conn: &mut AsyncPgConnection, until: DateTime<Utc>) -> Result<bool, StoreError> {
        let kept = diesel::update(self.row()).set(payment::look_again_at.eq(until)).execute(conn).await?;
        self.leased_until = until;
        Ok(kept > 0)
    }

    /// Ends the look, which failed. The next one is due at `again_at`. Changes nothing if another has begun meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fail(
        &self,
        conn: &mut AsyncPgConnection,
        why: &str,
        again_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let why: String = why.replace('\0', "").chars().take(MAX_WHY).collect();
        let ending = diesel::update(self.row()).set((payment::look_again_at.eq(again_at), payment::info.eq(why)));
        ending.execute(conn).await?;
        Ok(())
    }

    /// Ends the look, which taught something.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn succeed(&self, conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
        let forgetting = diesel::delete(tries::table.find(self.payment.id));
        forgetting.execute(conn).await?;
        Ok(())
    }

    /// Sets when a payment that has come to its end is looked after again; `None`: no more. Changes nothing if another
    /// look has begun meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look_after(
        &self,
        conn: &mut AsyncPgConnection,
        again_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        diesel::update(self.row()).set(payment::look_again_at.eq(again_at)).execute(conn).await?;
        Ok(())
    }

    /// The payment, while this look is the last one.
    fn row(&self) -> OfLook {
        payment::table
            .find(self.payment.id)
            .filter(payment::look_again_at.eq(self.leased_until))
            .filter(payment::state.eq_any(LOOKED_AT))
    }
}

/// The longest remark that is kept, in characters.
const MAX_WHY: usize = 1_000;

/// What is looked at.
const LOOKED_AT: [PaymentState; 3] = [PaymentState::Unknown, PaymentState::AwaitingThreeDs, PaymentState::Abandoned];

type OfLook = dsl::Filter<
    dsl::Filter<dsl::Find<payment::table, PaymentId>, dsl::Eq<payment::look_again_at, DateTime<Utc>>>,
    dsl::EqAny<payment::state, [PaymentState; 3]>,
>;

/// Counts a request that the gateway did not process; returns how many those are, in a row.
///
/// # Errors
/// [`StoreError`].
pub async fn count_unprocessed(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<i32, StoreError> {
    let counting = diesel::insert_into(tries::table)
        .values((tries::payment_id.eq(id), tries::unprocessed.eq(1)))
        .on_conflict(tries::payment_id)
        .do_update()
        .set(tries::unprocessed.eq(tries::unprocessed + 1))
        .returning(tries::unprocessed);
    Ok(counting.get_result(conn).await?)
}
