//! Forgetting the persons behind closed accounts: their addresses and what was shown of their cards. Bills and payments
//! stay, as the law wants.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{exists, sql};
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::StoreError;
use crate::payment::{CardMask, PaymentState};
use crate::schema::{account, bill, card, payment, refund};
use crate::{AccountId, BillId};

/// Wipes the personal traces of at most `limit` accounts that were closed at least `kept` ago. Returns whose; as many as the
/// limit: there may be more, call again. Any number may run at once, each takes other accounts.
///
/// Whose money is in doubt waits: an attempt that is live or still looked after, a refund that is not finished, money that
/// nobody owed and that is not all back. So does whose
/// last payment ended less than `kept` ago.
///
/// # Errors
/// [`StoreError`].
pub async fn wipe_traces(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    kept: TimeDelta,
    limit: i64,
) -> Result<Vec<AccountId>, StoreError> {
    conn.transaction(async |conn| {
        let before = now - kept;
        let accounts = to_be_forgotten(conn, before, limit).await?;
        let bills: Vec<BillId> =
            bill::table.filter(bill::account_id.eq_any(&accounts)).select(bill::id).load(conn).await?;
        diesel::update(bill::table.filter(bill::id.eq_any(&bills)).filter(bill::ip_address.is_not_null()))
            .set(bill::ip_address.eq(None::<String>))
            .execute(conn)
            .await?;
        diesel::update(payment::table.filter(payment::bill_id.eq_any(&bills)).filter(payment::card.is_not_null()))
            .set(payment::card.eq(None::<CardMask>))
            .execute(conn)
            .await?;
        diesel::update(card::table.filter(card::account_id.eq_any(&accounts)).filter(card::mask.is_not_null()))
            .set(card::mask.eq(None::<CardMask>))
            .execute(conn)
            .await?;
        diesel::update(account::table.filter(account::id.eq_any(&accounts)))
            .set(account::traces_wiped_at.eq(now))
            .execute(conn)
            .await?;
        Ok(accounts)
    })
    .await
}

async fn to_be_forgotten(
    conn: &mut AsyncPgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<AccountId>, StoreError> {
    let under_way = refund::table.filter(unfinished()).select(refund::payment_id);
    let waits = bill::table.inner_join(payment::table).filter(bill::account_id.eq(account::id)).filter(
        payment::is_success
            .is_null()
            .or(payment::look_again_at.is_not_null())
            .or(payment::state.eq(PaymentState::SucceededDuplicate).and(not_all_back()))
            .or(payment::id.eq_any(under_way))
            .or(payment::finished_at.gt(before)),
    );
    Ok(account::table
        .filter(account::closed_at.le(before).and(account::traces_wiped_at.is_null()))
        .filter(diesel::dsl::not(exists(waits)))
        .order(account::closed_at)
        .limit(limit)
        .select(account::id)
        .for_no_key_update()
        .skip_locked()
        .load(conn)
        .await?)
}

/// A payment of which not all is back.
fn not_all_back() -> SqlLiteral<Bool> {
    sql("(select coalesce(sum(r.amount), 0) from refund r where r.payment_id = payment.id and r.state = 'succeeded') \
         < payment.amount")
}

/// As the index has it.
fn unfinished() -> SqlLiteral<Bool> {
    sql("refund.state in ('requested', 'sending', 'unknown')")
}
