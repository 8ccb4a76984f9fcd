//! Before a request leaves: what is written down so that a crash at any point is recognised.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use secrecy::SecretString;

use super::super::circuits::{self, Admitted, Watch};
use super::super::gateway_calls::{self, CallId};
use super::super::{StoreError, cards, events, restores};
use super::PostOrder;
use super::load::{Locked, lock_known};
use super::story::{self, Standing};
use super::three_ds::post_order;
use super::view::sent;
use crate::account::AccountEvent;
use crate::bill::{BillEvent, BillKind, BillStatus};
use crate::breaker::Circuit;
use crate::cipher::{Cipher, CipherError, Place};
use crate::payment::identity::{Identity, Terminal};
use crate::payment::{Instrument, Outcome, PaymentState};
use crate::resolve::{ResolvePolicy, Step};
use crate::schema::{bill, payment};
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};

/// Everything the gateway must be told to charge.
#[derive(Debug, Clone)]
pub struct ChargeOrder {
    pub payment_id: PaymentId,
    pub bill_id: BillId,
    /// What the bill is of: it goes along with the charge, so that both can be written down again should they be lost.
    pub tariff_id: TariffId,
    pub kind: BillKind,
    pub period_no: i32,
    pub account_id: AccountId,
    pub amount: Kopecks,
    pub currency: Currency,
    /// `X-Request-ID`: the same for every sending of this attempt.
    pub request_id: String,
    /// `InvoiceId`: one per attempt.
    pub invoice_no: i64,
    pub instrument: ChargeInstrument,
    /// The money is held first, and taken later.
    pub holds: bool,
    /// The customer's; a renewal has none.
    pub ip_address: Option<String>,
    pub description: String,
    pub first_sent_at: DateTime<Utc>,
    /// 1 for the first sending.
    pub resend_no: i32,
    /// The request that is about to leave.
    pub call: CallId,
    /// What its response tells the circuits.
    pub watch: Watch,
}

impl ChargeOrder {
    /// What must come back from the gateway with the charge.
    #[must_use]
    pub const fn identity(&self, terminal: Terminal) -> Identity {
        Identity {
            payment_id: self.payment_id,
            account_id: self.account_id,
            invoice_no: self.invoice_no,
            amount: self.amount,
            currency: self.currency,
            terminal,
        }
    }
}

/// What is charged.
#[derive(Debug, Clone)]
pub enum ChargeInstrument {
    Cryptogram(SecretString),
    /// Likewise, but money is only held: the card is verified.
    Verification(SecretString),
    Token(SecretString),
}

/// Whether to send.
#[derive(Debug, Clone)]
pub enum Begin {
    /// Committed as `sending`: send, once, and [`apply`](super::apply) what comes of it.
    Send(Box<ChargeOrder>),
    /// Somebody else sends it, it is over, it is put off – the gateway may be left alone for now – or it was withdrawn by the
    /// last look.
    NotNow(PaymentState),
}

/// Whether and what to repeat.
#[derive(Debug, Clone)]
pub enum Resend {
    Charge(Box<ChargeOrder>),
    ThreeDs(PostOrder),
    /// What it must be repeated with cannot be opened: only the gateway's word can end it.
    CannotOpen(CipherError),
    /// Its card was replaced or forgotten: it is not charged any more, and only the gateway's word can end it.
    CardIsGone,
    NotNow(PaymentState),
}

/// A cryptogram that could not be sent for so long is not sent any more: its customer has gone, and would be
/// surprised by the charge.
const CRYPTOGRAM_LIVES: TimeDelta = TimeDelta::minutes(30);

/// `created` → `sending`, after a last look: does the bill still owe it, is the account still to be charged?
///
/// # Errors
/// [`StoreError`].
pub async fn begin_sending(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Begin, StoreError> {
    conn.transaction(async |conn| {
        let mut locked = lock_known(conn, id).await?;
        let sending = match locked.attempt().begin_sending(now) {
            Ok(sending) if !locked.is_put_off(now) => sending,
            _ => return Ok(Begin::NotNow(locked.payment.state)),
        };
        if let Some(reason) = last_look(&locked, now) {
            refrain(conn, &mut locked, reason, now).await?;
            return Ok(Begin::NotNow(locked.payment.state));
        }
        if locked.bill.kind == BillKind::Verification && !cards::stands(conn, id).await? {
            refrain(conn, &mut locked, Reason::CardForgotten, now).await?;
            return Ok(Begin::NotNow(locked.payment.state));
        }
        let instrument = match instrument(&locked, cipher) {
            Err(error) if locked.payment.instrument == Instrument::Token => {
                let account = &locked.account;
                if account.faults == 0 {
                    tracing::error!(account = %account.id, %error, "its card token cannot be opened: ENCRYPTION_KEYS?");
                }
                refrain(conn, &mut locked, Reason::SealedCard, now).await?;
                return Ok(Begin::NotNow(locked.payment.state));
            }
            Err(StoreError::Cipher(error)) if locked.payment.instrument == Instrument::Cryptogram => {
                return leave_sealed(conn, locked, &error, now).await;
            }
            opened => opened?,
        };
        let watch = match circuits::admit(conn, circuits_of(locked.payment.instrument), by_itself(&locked), now).await?
        {
            Admitted::Send(watch) => watch,
            Admitted::Wait(until) => {
                put_off(conn, &mut locked, LEFT_ALONE.to_owned(), until, now).await?;
                return Ok(Begin::NotNow(locked.payment.state));
            }
        };
        if locked.payment.instrument == Instrument::Token && !cards::name_kept(conn, locked.account.id, id).await? {
            refrain(conn, &mut locked, Reason::NoCard, now).await?;
            return Ok(Begin::NotNow(locked.payment.state));
        }
        let stood = Standing::of(&locked);
        locked.save_payment(conn, &sending, now).await?;
        events::append(conn, story::moves(stood, &locked), now).await?;
        let call = begin_call(conn, &locked, now).await?;
        Ok(Begin::Send(Box::new(order(&locked, instrument, call, watch, now))))
    })
    .await
}

/// What a charge has to pass.
const fn circuits_of(instrument: Instrument) -> &'static [Circuit] {
    match instrument {
        Instrument::Cryptogram => &[Circuit::Gateway],
        Instrument::Token => &[Circuit::Gateway, Circuit::KeptCards],
    }
}

/// Whose card is charged without them.
fn by_itself(locked: &Locked) -> Option<AccountId> {
    (locked.payment.instrument == Instrument::Token).then_some(locked.account.id)
}

/// Why it waits.
pub(super) const LEFT_ALONE: &str = "it waits: the gateway is left alone for now, or money at it has to be found first";

/// Leaves an attempt that was not sent as it is, until then. It counts for nothing.
pub(super) async fn put_off(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    why: String,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let id = locked.payment.id;
    let put_off = Outcome::NotSent { why, retry_after: Some(until) };
    let waiting = locked.attempt().apply(put_off, now).map_err(|source| StoreError::Illegal { id, source })?;
    locked.save_payment(conn, &waiting, now).await
}

/// How soon another worker may know the key.
const ANOTHER_KEY: TimeDelta = TimeDelta::minutes(1);

/// A cryptogram that does not open is not sent. Its key may come back, or another worker may have it: until the cryptogram
/// is too old that is waited for. What is damaged ends at once. Each is said once.
async fn leave_sealed(
    conn: &mut AsyncPgConnection,
    mut locked: Locked,
    error: &CipherError,
    now: DateTime<Utc>,
) -> Result<Begin, StoreError> {
    let why = format!("the cryptogram cannot be opened: {error}");
    let payment_id = locked.payment.id;
    if locked.payment.info.as_ref() != Some(&why) {
        tracing::error!(%payment_id, why, "not sent: put the key back into ENCRYPTION_KEYS, or have the customer pay anew");
    }
    if matches!(error, CipherError::UnknownKey(_)) {
        put_off(conn, &mut locked, why, now + ANOTHER_KEY, now).await?;
    } else {
        refrain(conn, &mut locked, Reason::CryptogramDamaged, now).await?;
    }
    Ok(Begin::NotNow(locked.payment.state))
}

/// Why an attempt is not sent after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    PaidOtherwise,
    /// Its person has asked to be forgotten.
    AccountClosed,
    NotToBeRenewed,
    /// The account was moved to another date by hand.
    NotDue,
    /// It waited so long that too little of its period is left.
    PeriodTooFarGone,
    /// It waited until the subscription was closed.
    SubscriptionEnded,
    NoCard,
    /// Nobody wants the card any more that was to be verified.
    CardForgotten,
    SealedCard,
    CryptogramTooOld,
    CryptogramDamaged,
    ChangeTooOld,
}

impl Reason {
    const fn text(self) -> &'static str {
        match self {
            Self::PaidOtherwise => "the period is paid otherwise",
            Self::AccountClosed => "the account was closed",
            Self::NotToBeRenewed => "the subscription is not to be renewed",
            Self::NotDue => "it is not due any more",
            Self::PeriodTooFarGone => "it could not be sent in time: too little of its period is left",
            Self::SubscriptionEnded => "it could not be sent before the subscription ended",
            Self::SealedCard => "the token of the card cannot be opened",
            Self::NoCard => "there is no card to charge",
            Self::CardForgotten => "the card was forgotten, or replaced by a later one",
            Self::CryptogramDamaged => "its cryptogram cannot be opened: the customer must pay anew",
            Self::ChangeTooOld => "it could not be sent in time: the customer must ask anew",
            Self::CryptogramTooOld => "it could not be sent in time: the customer must pay anew",
        }
    }

    /// Whether nobody owes the bill any more.
    const fn voids_the_bill(self) -> bool {
        matches!(self, Self::PaidOtherwise | Self::AccountClosed | Self::NotToBeRenewed | Self::PeriodTooFarGone)
    }

    /// What it means for the subscription.
    const fn event(self, period_no: i32) -> Option<AccountEvent> {
        match self {
            Self::NoCard => Some(AccountEvent::NoCard),
            Self::PeriodTooFarGone | Self::SealedCard => Some(AccountEvent::RenewalNotCharged { period_no }),
            Self::PaidOtherwise
            | Self::AccountClosed
            | Self::NotToBeRenewed
            | Self::NotDue
            | Self::SubscriptionEnded
            | Self::CardForgotten
            | Self::CryptogramTooOld
            | Self::CryptogramDamaged
            | Self::ChangeTooOld => None,
        }
    }
}

fn last_look(locked: &Locked, now: DateTime<Utc>) -> Option<Reason> {
    let (account, bill) = (locked.account.machine(), &locked.bill);
    let paid_otherwise = match bill.kind {
        BillKind::Primary => account.is_paid_up(now),
        BillKind::Renewal | BillKind::Change => bill.period_no <= account.period_no,
        BillKind::Verification => bill.trial_days.is_some() && account.is_running(),
    };
    match locked.payment.instrument {
        _ if account.closed_at.is_some() => Some(Reason::AccountClosed),
        _ if paid_otherwise => Some(Reason::PaidOtherwise),
        Instrument::Cryptogram if now - locked.payment.created_at > CRYPTOGRAM_LIVES => Some(Reason::CryptogramTooOld),
        Instrument::Token if bill.kind == BillKind::Change => last_look_at_change(locked, now),
        Instrument::Cryptogram => None,
        Instrument::Token if !account.is_running() || account.cancel_at_period_end => Some(Reason::NotToBeRenewed),
        Instrument::Token if account.next_charge_at.is_some_and(|at| at > now) => Some(Reason::NotDue),
        Instrument::Token if !account.can_be_charged() || locked.account.card_has_expired(now) => Some(Reason::NoCard),
        Instrument::Token if bill.paid_period.is_none_or(|period| !account.still_owes(bill.period_no, period, now)) => {
            Some(Reason::PeriodTooFarGone)
        }
        Instrument::Token => None,
    }
}

/// Its customer waits, as with a card just typed in, and was shown an amount of this day.
fn last_look_at_change(locked: &Locked, now: DateTime<Utc>) -> Option<Reason> {
    let account = locked.account.machine();
    match () {
        () if !account.is_running() || account.cancel_at_period_end => Some(Reason::NotToBeRenewed),
        () if now - locked.payment.created_at > CRYPTOGRAM_LIVES => Some(Reason::ChangeTooOld),
        () if !account.can_be_charged() || locked.account.card_has_expired(now) => Some(Reason::NoCard),
        () => None,
    }
}

/// Does not send the attempt after all.
async fn refrain(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    reason: Reason,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let stood = Standing::of(locked);
    withdraw(conn, locked, reason.text().to_owned(), now).await?;
    // Some are void by the end of their attempt.
    if reason.voids_the_bill() && locked.bill.status == BillStatus::NotPaid {
        let void = locked.bill.machine().apply(BillEvent::Voided, now)?;
        let attempt = locked.attempt();
        locked.save_bill(conn, void, &attempt, now).await?;
    }
    let event = reason.event(locked.bill.period_no).filter(|_| locked.bill.kind != BillKind::Change);
    if let Some(event) = event {
        let account = locked.account.machine().apply(event, now)?;
        locked.save_account(conn, &account, now).await?;
    }
    let mut told = story::moves(stood, locked);
    // As where the timetable finds that there is no card.
    match reason {
        Reason::NoCard if locked.bill.kind == BillKind::Renewal => told.push(story::without_a_card(locked, now)),
        Reason::PeriodTooFarGone | Reason::SealedCard if locked.bill.kind == BillKind::Renewal => {
            told.push(story::not_charged(locked));
        }
        _ => {}
    }
    events::append(conn, told, now).await
}

/// Takes back a renewal of a closed account that was never sent: nobody would turn to it any more. Its bill is open again.
///
/// # Errors
/// [`StoreError`].
pub(in crate::store) async fn withdraw_unsent_renewal(
    conn: &mut AsyncPgConnection,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let unsent: Option<PaymentId> = payment::table
        .inner_join(bill::table)
        .filter(bill::account_id.eq(account_id).and(bill::status.eq(BillStatus::InWork)))
        .filter(payment::state.eq(PaymentState::Created).and(payment::instrument.eq(Instrument::Token)))
        .select(payment::id)
        .first(conn)
        .await
        .optional()?;
    let Some(id) = unsent else { return Ok(()) };
    let mut locked = lock_known(conn, id).await?;
    refrain(conn, &mut locked, Reason::SubscriptionEnded, now).await
}

/// Ends an attempt that was not sent; its bill is open again.
async fn withdraw(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    why: String,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let id = locked.payment.id;
    let withdrawn =
        locked.attempt().apply(Outcome::Withdrawn { why }, now).map_err(|source| StoreError::Illegal { id, source })?;
    locked.save_payment(conn, &withdrawn, now).await?;
    let bill = locked.bill.machine();
    let bill = match locked.bill.kind.event(PaymentState::Created, withdrawn.state) {
        Some(event) => bill.apply(event, now)?,
        None => bill,
    };
    locked.save_bill(conn, bill, &withdrawn, now).await
}

fn instrument(locked: &Locked, cipher: &Cipher) -> Result<ChargeInstrument, StoreError> {
    let open = |place, sealed: &Option<String>| match sealed {
        Some(sealed) => cipher.open(place, sealed),
        None => Err(CipherError::DoesNotOpen),
    };
    Ok(match locked.payment.instrument {
        Instrument::Cryptogram => {
            let place = Place::Cryptogram(locked.bill.id);
            let cryptogram = open(place, &locked.bill.card_cryptogram_packet)?;
            match locked.bill.kind {
                BillKind::Verification => ChargeInstrument::Verification(cryptogram),
                _ => ChargeInstrument::Cryptogram(cryptogram),
            }
        }
        Instrument::Token => {
            let place = Place::Token(locked.account.id);
            ChargeInstrument::Token(open(place, &locked.account.payment_token)?)
        }
    })
}

async fn begin_call(conn: &mut AsyncPgConnection, locked: &Locked, now: DateTime<Utc>) -> Result<CallId, StoreError> {
    let payment = &locked.payment;
    let path = match payment.instrument {
        Instrument::Cryptogram if locked.bill.kind == BillKind::Verification || locked.bill.two_stages => {
            "/payments/cards/auth"
        }
        Instrument::Cryptogram => "/payments/cards/charge",
        Instrument::Token if locked.bill.two_stages => "/payments/tokens/auth",
        Instrument::Token => "/payments/tokens/charge",
    };
    gateway_calls::begin(conn, payment.id, path, Some(&payment.request_id), now).await
}

fn order(locked: &Locked, instrument: ChargeInstrument, call: CallId, watch: Watch, now: DateTime<Utc>) -> ChargeOrder {
    let (bill, payment) = (&locked.bill, &locked.payment);
    ChargeOrder {
        payment_id: payment.id,
        bill_id: bill.id,
        tariff_id: bill.tariff_id,
        kind: bill.kind,
        period_no: bill.period_no,
        account_id: locked.account.id,
        amount: payment.amount,
        currency: payment.currency,
        request_id: payment.request_id.clone(),
        invoice_no: payment.invoice_no,
        ip_address: bill.ip_address.clone().filter(|_| payment.instrument == Instrument::Cryptogram),
        instrument,
        holds: bill.two_stages,
        description: bill.description.clone(),
        first_sent_at: payment.first_sent_at.unwrap_or(now),
        resend_no: payment.sends,
        call,
        watch,
    }
}

/// `unknown` → `sending` (or `posting_3ds`), if the policy allows the identical request to be repeated at `now`.
///
/// # Errors
/// [`StoreError`].
pub async fn begin_resend(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    policy: &ResolvePolicy,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Resend, StoreError> {
    conn.transaction(async |conn| {
        let mut locked = lock_known(conn, id).await?;
        let allowed = sent(&locked.payment).is_some_and(|sent| policy.step(&sent, now) == Step::LookThenResend);
        let next = match locked.attempt().begin_resend(now) {
            Ok(next) if allowed => next,
            _ => return Ok(Resend::NotNow(locked.payment.state)),
        };
        if restores::is_held(conn).await? {
            return Ok(Resend::NotNow(locked.payment.state));
        }
        if !cards::stands(conn, id).await? {
            return Ok(Resend::CardIsGone);
        }
        let stood = Standing::of(&locked);
        if next.state == PaymentState::PostingThreeDs {
            let order = match post_order(conn, &locked, &next, cipher, now).await {
                Err(StoreError::Cipher(error)) => return Ok(Resend::CannotOpen(error)),
                order => order?,
            };
            locked.save_payment(conn, &next, now).await?;
            events::append(conn, story::moves(stood, &locked), now).await?;
            return Ok(Resend::ThreeDs(order));
        }
        let instrument = match instrument(&locked, cipher) {
            Err(StoreError::Cipher(error)) => return Ok(Resend::CannotOpen(error)),
            instrument => instrument?,
        };
        locked.save_payment(conn, &next, now).await?;
        events::append(conn, story::moves(stood, &locked), now).await?;
        let call = begin_call(conn, &locked, now).await?;
        Ok(Resend::Charge(Box::new(order(&locked, instrument, call, Watch::UNASKED, now))))
    })
    .await
}
