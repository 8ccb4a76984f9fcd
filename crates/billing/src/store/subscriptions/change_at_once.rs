//! A dearer tariff at once, for what it costs more than is left of the present period.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::payments::story;
use super::super::renewals::charges_of;
use super::super::{StoreError, events, refunds, tariffs};
use super::change_tariff::{may_choose, on_sale};
use super::open_bill;
use super::request::{Request, VerbError, Written, is_first, is_known_key, lock, written};
use crate::account::AccountStatus;
use crate::bill::{BillKind, BillStatus};
use crate::decline::left_alone_until;
use crate::models::{AccountRow, NewBill, NewPaymentRow, Tariff};
use crate::payment::{Instrument, PaymentState};
use crate::proration::{Share, price_at_once};
use crate::refund::RefundState;
use crate::schema::{account, bill, payment};
use crate::{AccountId, Currency, Kopecks, PaymentId, TariffId};

const VERB: &str = "change_tariff";

/// What a change of tariff would cost.
#[derive(Debug)]
pub struct Preview {
    /// From the next period on: when it would be charged, and how much. `None`: nothing is charged without the customer.
    pub next: Option<(DateTime<Utc>, Kopecks, Currency)>,
    /// At once; or why that cannot be.
    pub at_once: Result<(Kopecks, Currency), VerbError>,
}

/// What a change to this tariff would cost at `now`. Nothing is written.
///
/// # Errors
/// [`VerbError`]: there is no subscription that could be changed.
pub async fn preview_change(
    conn: &mut AsyncPgConnection,
    id: AccountId,
    tariff_id: TariffId,
    now: DateTime<Utc>,
) -> Result<Preview, VerbError> {
    let row = account::table.find(id).select(AccountRow::as_select()).first(conn).await.optional()?;
    let row: AccountRow = row.ok_or(VerbError::UnknownAccount(id))?;
    let account = row.machine();
    may_choose(&account)?;
    let tariff = on_sale(conn, &account, tariff_id, now).await?;
    let at_once = match price(conn, &row, &tariff, now).await {
        Ok(amount) => Ok((amount, tariff.currency)),
        Err(VerbError::Store(error)) => return Err(error.into()),
        Err(refusal) => Err(refusal),
    };
    let charged_at = account.next_charge_at.filter(|_| account.renews());
    let next = match charged_at {
        Some(at) => tariffs::get(conn, tariff_id, at).await.map_err(StoreError::from)?.zip(charged_at),
        None => None,
    };
    Ok(Preview { next: next.map(|(tariff, at)| (at, tariff.amount, tariff.currency)), at_once })
}

/// Has this tariff charged at once to the kept card, for the amount that the customer was shown, unless this key did it
/// before. A new term begins when it is paid; until then, and if it is not, everything stays as it is. After this returns
/// send [`ChargePayment`](crate::tasks::ChargePayment) for the payment of the open bill, while it is `created`.
///
/// # Errors
/// [`VerbError`].
pub async fn change_tariff_at_once(
    conn: &mut AsyncPgConnection,
    request: &Request,
    tariff_id: TariffId,
    previewed: Kopecks,
) -> Result<Written, VerbError> {
    let digest = digest(tariff_id, previewed);
    conn.transaction(async |conn| {
        let row = lock(conn, request.account_id).await?;
        let first = is_first(conn, &row, request, VERB, Some(&digest)).await?;
        if first {
            may_choose(&row.machine())?;
            let tariff = on_sale(conn, &row.machine(), tariff_id, request.now).await?;
            let amount = price(conn, &row, &tariff, request.now).await?;
            if amount != previewed {
                return Err(VerbError::PreviewChanged { amount });
            }
            open(conn, &row, &tariff, amount, request.now).await?;
        }
        written(conn, request, !first).await
    })
    .await
}

/// What an earlier call with this key and content began. Writes nothing.
///
/// # Errors
/// [`VerbError::IdempotencyConflict`], [`VerbError::Store`].
pub async fn changed_before(
    conn: &mut AsyncPgConnection,
    request: &Request,
    tariff_id: TariffId,
    previewed: Kopecks,
) -> Result<Option<Written>, VerbError> {
    if !is_known_key(conn, request, VERB, Some(&digest(tariff_id, previewed))).await? {
        return Ok(None);
    }
    written(conn, request, true).await.map(Some)
}

fn digest(tariff_id: TariffId, previewed: Kopecks) -> Vec<u8> {
    [tariff_id.get().as_bytes().as_slice(), &previewed.get().to_be_bytes()].concat()
}

/// What the change costs at `now`, if it can be made.
async fn price(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    tariff: &Tariff,
    now: DateTime<Utc>,
) -> Result<Kopecks, VerbError> {
    let account = row.machine();
    let (Some(term), Some(end)) = (account.term, account.paid_until) else { return Err(VerbError::NoSubscription) };
    if account.tariff_id == Some(tariff.id) {
        return Err(VerbError::SameTariff);
    }
    match open_bill(conn, row.id).await? {
        Some(open) if open.kind == BillKind::Change => return Err(VerbError::ChangeInProgress),
        Some(_) => return Err(VerbError::RenewalInProgress),
        None if account.status == AccountStatus::Overdue || end <= now => return Err(VerbError::RenewalInProgress),
        None => {}
    }
    if !account.can_be_charged() || row.card_has_expired(now) {
        return Err(VerbError::NoCard);
    }
    let charges = charges_of(conn, std::slice::from_ref(row), now).await?.remove(&row.id).unwrap_or_default();
    if let Some(until) = left_alone_until(&charges, now) {
        return Err(VerbError::ChargedTooOften { until });
    }
    let kept = kept(conn, row, tariff.currency).await?;
    let begins = term.start_of(account.period_no, account.time_zone).map_err(StoreError::from)?;
    let share = Share::of(begins, end, account.time_zone, now);
    price_at_once(tariff.amount, kept, share).ok_or(VerbError::NotUpwards)
}

/// What was captured for the present period and not given back.
async fn kept(conn: &mut AsyncPgConnection, row: &AccountRow, wanted: Currency) -> Result<Kopecks, VerbError> {
    let captured: Vec<(BillStatus, PaymentId, Kopecks, Currency)> = bill::table
        .inner_join(payment::table)
        .filter(bill::account_id.eq(row.id).and(bill::period_no.eq(row.period_no)))
        .filter(bill::status.eq_any([BillStatus::Paid, BillStatus::PartiallyRefunded]))
        .filter(payment::state.eq(PaymentState::Succeeded))
        .select((bill::status, payment::id, payment::amount, payment::currency))
        .load(conn)
        .await?;
    let mut kept = 0;
    for (status, id, amount, currency) in captured {
        if currency != wanted {
            return Err(VerbError::OtherCurrency);
        }
        let of_payment = refunds::of_payment(conn, id).await?;
        if of_payment.iter().any(|refund| refund.state.is_unfinished()) {
            return Err(VerbError::RefundInProgress);
        }
        let succeeded = of_payment.iter().filter(|refund| refund.state == RefundState::Succeeded);
        let back: i64 = succeeded.map(|refund| refund.amount.get()).sum();
        // Of a bill from before refunds were kept only the gateway knows how much.
        if status == BillStatus::PartiallyRefunded && back == 0 {
            return Err(VerbError::PartiallyRefunded);
        }
        kept += amount.get() - back;
    }
    Ok(Kopecks::new(kept))
}

/// Opens the bill with its attempt.
async fn open(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    tariff: &Tariff,
    amount: Kopecks,
    now: DateTime<Utc>,
) -> Result<(), VerbError> {
    let next = row.period_no.saturating_add(1);
    let bill = NewBill { amount, ..NewBill::of_tariff(row.id, tariff, BillKind::Change, next, now) };
    let id = bill.id;
    diesel::insert_into(bill::table).values(bill).execute(conn).await?;
    let attempt = NewPaymentRow::created(id, Instrument::Token, amount, tariff.currency, now);
    let begun = story::attempt_created(row.id, id, attempt.id);
    diesel::insert_into(payment::table).values(attempt).execute(conn).await?;
    Ok(events::append(conn, vec![begun], now).await?)
}
