//! From the domain to what goes over the wire.

use billing::account::{Access, AccountStatus, SkippedPeriod};
use billing::bill::{BillKind, BillStatus};
use billing::event::{Event, EventKind, ResumeToken};
use billing::models::{RefundRow, Tariff, Trial};
use billing::payment::{Decline, PaymentState};
use billing::period::Period;
use billing::refund::{AccessEffect, RefundSource, RefundState};
use billing::store::payments::{PaymentView, ThreeDsView};
use billing::store::subscriptions::{BillView, Preview};
use billing::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};
use chrono::{DateTime, NaiveDate, Utc};
use prost_types::Timestamp;

use crate::error::ApiError;
use crate::proto;

pub(crate) fn payment(view: PaymentView) -> proto::Payment {
    let verifies = view.kind == BillKind::Verification;
    let status = match status(view.state) {
        _ if view.trial_refused.is_some() => proto::PaymentStatus::TrialRefused,
        // A card is good once money could be held on it; letting that go is our matter.
        proto::PaymentStatus::Processing if verifies && view.state == PaymentState::Authorized => {
            proto::PaymentStatus::Succeeded
        }
        // Of the attempts on a bill only one succeeds.
        proto::PaymentStatus::Succeeded if view.bill_status == BillStatus::Refunded => proto::PaymentStatus::Refunded,
        status => status,
    };
    let succeeded = status == proto::PaymentStatus::Succeeded;
    let paid = succeeded && (!verifies || view.is_trial);
    proto::Payment {
        payment_id: view.id.to_string(),
        account_id: view.account_id.to_string(),
        tariff_id: view.tariff_id.to_string(),
        bill_id: view.bill_id.to_string(),
        status: status.into(),
        amount_kopecks: view.amount.get(),
        currency: view.currency.to_string(),
        three_ds: view.three_ds.map(three_ds),
        decline: view.decline.filter(|_| status == proto::PaymentStatus::Declined).map(decline),
        access_expires_on: date(view.expires_on.filter(|_| paid)),
        created_at: Some(timestamp(view.created_at)),
        updated_at: Some(timestamp(view.updated_at)),
        renews: succeeded && view.renews,
        verifies_card: verifies,
        is_trial: view.is_trial,
        trial_refused: view.trial_refused.map(|why| why.as_str().to_owned()).unwrap_or_default(),
    }
}

/// What the states of an attempt look like from outside.
pub(crate) fn status(state: PaymentState) -> proto::PaymentStatus {
    use proto::PaymentStatus as Status;
    match state {
        PaymentState::Created => Status::Created,
        PaymentState::Sending => Status::Sending,
        PaymentState::AwaitingThreeDs => Status::AwaitingThreeDs,
        PaymentState::PostingThreeDs | PaymentState::Unknown | PaymentState::Authorized => Status::Processing,
        PaymentState::Succeeded | PaymentState::Verified => Status::Succeeded,
        PaymentState::SucceededDuplicate => Status::Duplicate,
        PaymentState::Declined => Status::Declined,
        PaymentState::Rejected | PaymentState::NotExecuted | PaymentState::Voided => Status::Failed,
        PaymentState::Abandoned => Status::Abandoned,
    }
}

fn three_ds(three_ds: ThreeDsView) -> proto::ThreeDs {
    proto::ThreeDs {
        acs_url: three_ds.acs_url,
        pa_req: three_ds.pa_req,
        md: three_ds.md.to_string(),
        expires_at: Some(timestamp(three_ds.expires_at)),
    }
}

fn decline(decline: Decline) -> proto::Decline {
    proto::Decline { code: decline.code, reason: decline.reason, message: decline.message }
}

pub(crate) fn tariff(tariff: Tariff) -> proto::Tariff {
    let trial = tariff.trial().map(trial);
    proto::Tariff {
        tariff_id: tariff.id.to_string(),
        name: tariff.name,
        description: tariff.description,
        amount_kopecks: tariff.amount.get(),
        currency: tariff.currency.to_string(),
        period: Some(period(tariff.period)),
        trial,
    }
}

pub(crate) fn trial(trial: Trial) -> proto::Trial {
    proto::Trial {
        days: trial.days.unsigned_abs(),
        amount_kopecks: trial.amount.get(),
        currency: trial.currency.to_string(),
    }
}

fn period(period: Period) -> proto::Period {
    use proto::period::Length;
    let length = match period.months_and_days() {
        (0, days) => Length::Days(days),
        (months, _) => Length::Months(months),
    };
    proto::Period { length: Some(length) }
}

pub(crate) fn access(account_id: AccountId, access: &Access) -> proto::AccountAccess {
    use proto::AccountStatus as Status;
    let status = match access.status {
        AccountStatus::Inactive => Status::Inactive,
        AccountStatus::Active => Status::Active,
        AccountStatus::Overdue => Status::Overdue,
        AccountStatus::Canceled => Status::Canceled,
    };
    proto::AccountAccess {
        account_id: account_id.to_string(),
        has_access: access.has_access,
        status: status.into(),
        tariff_id: access.tariff_id.as_ref().map(TariffId::to_string).unwrap_or_default(),
        expires_on: date(access.expires_on),
        renews: access.renews,
    }
}

pub(crate) fn bill(view: BillView) -> proto::Bill {
    use proto::BillStatus as Status;
    let status = match view.status {
        BillStatus::NotPaid => Status::NotPaid,
        BillStatus::InWork => Status::InWork,
        BillStatus::Paid => Status::Paid,
        BillStatus::Void => Status::Void,
        BillStatus::Uncollectible => Status::Uncollectible,
        BillStatus::PartiallyRefunded => Status::PartiallyRefunded,
        BillStatus::Refunded => Status::Refunded,
    };
    proto::Bill {
        bill_id: view.id.to_string(),
        account_id: view.account_id.to_string(),
        tariff_id: view.tariff_id.to_string(),
        status: status.into(),
        description: view.description,
        amount_kopecks: view.amount.get(),
        currency: view.currency.to_string(),
        created_at: Some(timestamp(view.created_at)),
        paid_at: view.paid_at.map(timestamp),
        is_renewal: view.kind == BillKind::Renewal,
        skipped_periods: view.skipped.iter().map(skipped).collect(),
        verifies_card: view.kind == BillKind::Verification,
        is_trial: view.is_trial,
    }
}

pub(crate) fn refund(row: RefundRow) -> proto::Refund {
    use proto::{RefundSource as Source, RefundStatus as Status};
    let status = match row.state {
        RefundState::Requested if row.waits_for_approval() => Status::WaitingForApproval,
        RefundState::Requested => Status::Requested,
        RefundState::Sending | RefundState::Unknown => Status::Sending,
        RefundState::Succeeded => Status::Succeeded,
        RefundState::Failed => Status::Failed,
    };
    let source = match row.source {
        RefundSource::Ours => Source::Ours,
        RefundSource::Automatic => Source::Automatic,
        RefundSource::External => Source::External,
    };
    let effect = match row.effect {
        AccessEffect::Keep => proto::AccessEffect::Keep,
        AccessEffect::Shorten => proto::AccessEffect::Shorten,
        AccessEffect::End => proto::AccessEffect::End,
    };
    proto::Refund {
        refund_id: row.id.to_string(),
        payment_id: row.payment_id.to_string(),
        status: status.into(),
        source: source.into(),
        amount_kopecks: row.amount.get(),
        currency: row.currency.to_string(),
        access_effect: effect.into(),
        reason: row.reason,
        requested_by: row.requested_by.unwrap_or_default(),
        approved_by: row.approved_by.unwrap_or_default(),
        gateway_transaction_id: row.gateway_tx_id.unwrap_or_default(),
        info: row.info.unwrap_or_default(),
        created_at: Some(timestamp(row.created_at)),
        updated_at: Some(timestamp(row.updated_at)),
        finished_at: row.finished_at.map(timestamp),
    }
}

fn skipped(period: &SkippedPeriod) -> proto::SkippedPeriod {
    proto::SkippedPeriod { from: Some(timestamp(period.begins_at)), until: Some(timestamp(period.ends_at)) }
}

pub(crate) fn next_charge((at, amount, currency): (DateTime<Utc>, Kopecks, Currency)) -> proto::NextCharge {
    proto::NextCharge { at: Some(timestamp(at)), amount_kopecks: amount.get(), currency: currency.to_string() }
}

pub(crate) fn preview(preview: Preview) -> proto::ChangePreview {
    let next_charge = preview.next.map(next_charge);
    match preview.at_once {
        Ok((amount, currency)) => proto::ChangePreview {
            next_charge,
            at_once_amount_kopecks: amount.get(),
            at_once_currency: currency.to_string(),
            at_once_refused: String::new(),
        },
        Err(refusal) => {
            let at_once_refused = match ApiError::from(refusal) {
                ApiError::NotAtOnce(why) => why.reason(),
                // Of the others only this is met here.
                _ => "NO_CARD",
            };
            proto::ChangePreview { next_charge, at_once_refused: at_once_refused.to_owned(), ..Default::default() }
        }
    }
}

/// An event with the token of who has dealt with it.
pub(crate) fn event(event: &Event, token: ResumeToken) -> proto::Event {
    let text = |name: &str| event.detail[name].as_str().unwrap_or_default().to_owned();
    proto::Event {
        resume_token: token.to_string(),
        kind: kind(event.kind).into(),
        at: Some(timestamp(event.at)),
        account_id: event.account_id.as_ref().map(AccountId::to_string).unwrap_or_default(),
        bill_id: event.bill_id.as_ref().map(BillId::to_string).unwrap_or_default(),
        payment_id: event.payment_id.as_ref().map(PaymentId::to_string).unwrap_or_default(),
        tariff_id: text("tariff_id"),
        expires_on: text("expires_on"),
        amount_kopecks: event.detail["amount"].as_i64().unwrap_or_default(),
        currency: text("currency"),
        reason_code: event.detail["reason_code"].as_i64().and_then(|code| code.try_into().ok()).unwrap_or_default(),
        next_charge_at: text("next_charge_at").parse().ok().map(timestamp),
        customer_message: event.detail["message_en"]
            .as_str()
            .map(|en| proto::Text { en: en.to_owned(), ru: text("message_ru") }),
        customer_action: text("customer_action"),
        ends_trial: event.detail["ends_trial"].as_bool().unwrap_or_default(),
        trial_refused: text("trial_refused"),
        effective_from: text("effective_from").parse().ok().map(timestamp),
    }
}

/// What others are told; the rest of the log is not for them.
fn kind(kind: EventKind) -> proto::EventKind {
    use proto::EventKind as Kind;
    match kind {
        EventKind::AccountRegistered => Kind::AccountRegistered,
        EventKind::AccessGranted => Kind::AccessGranted,
        EventKind::AccessEnds => Kind::AccessEnds,
        EventKind::AccessEnded => Kind::AccessEnded,
        EventKind::PaymentSucceeded => Kind::PaymentSucceeded,
        EventKind::PaymentDeclined => Kind::PaymentDeclined,
        EventKind::TrialBegan => Kind::TrialBegan,
        EventKind::TrialRefused => Kind::TrialRefused,
        EventKind::RenewalUpcoming => Kind::RenewalUpcoming,
        EventKind::RenewalRefused => Kind::RenewalRefused,
        EventKind::CardExpiring => Kind::CardExpiring,
        EventKind::CardForgotten => Kind::CardForgotten,
        EventKind::TariffChanged => Kind::TariffChanged,
        EventKind::PriceChangeUpcoming => Kind::PriceChangeUpcoming,
        EventKind::RefundSucceeded => Kind::RefundSucceeded,
        EventKind::ReceiptIssued => Kind::ReceiptIssued,
        EventKind::NeedsAttention => Kind::NeedsAttention,
        EventKind::PaymentMoved
        | EventKind::BillMoved
        | EventKind::AccountMoved
        | EventKind::CancelRequested
        | EventKind::Resumed
        | EventKind::AccountClosed
        | EventKind::TariffChangeAsked
        | EventKind::TariffChangeTakenBack
        | EventKind::PriceSet
        | EventKind::TrialSet
        | EventKind::PeriodsSkipped
        | EventKind::CardReplaced
        | EventKind::RefundMoved
        | EventKind::ChargebackReceived
        | EventKind::ExpirationMoved
        | EventKind::DifferenceDecided => Kind::Unspecified,
    }
}

/// The kind that a caller names; `None` for one that does not exist.
pub(crate) fn event_kind(number: i32) -> Option<EventKind> {
    let named = proto::EventKind::try_from(number).ok().filter(|named| *named != proto::EventKind::Unspecified)?;
    EventKind::ALL.iter().copied().find(|known| kind(*known) == named)
}

/// `YYYY-MM-DD`; empty for no date.
fn date(date: Option<NaiveDate>) -> String {
    date.map(|date| date.to_string()).unwrap_or_default()
}

pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: at.timestamp(), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_status_and_only_live_ones_go_on() {
        use proto::PaymentStatus as Status;
        let shown = PaymentState::ALL.iter().map(|state| (state.as_str(), status(*state)));
        let expected = [
            ("created", Status::Created),
            ("sending", Status::Sending),
            ("awaiting_3ds", Status::AwaitingThreeDs),
            ("posting_3ds", Status::Processing),
            ("unknown", Status::Processing),
            ("authorized", Status::Processing),
            ("succeeded", Status::Succeeded),
            ("succeeded_duplicate", Status::Duplicate),
            ("declined", Status::Declined),
            ("rejected", Status::Failed),
            ("abandoned", Status::Abandoned),
            ("not_executed", Status::Failed),
            ("voided", Status::Failed),
            ("verified", Status::Succeeded),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_public_kind_of_event_has_a_name_on_the_wire_and_no_other_has() {
        for known in EventKind::ALL {
            let named = kind(*known);
            assert_eq!(named != proto::EventKind::Unspecified, known.is_public(), "{known}");
            if known.is_public() {
                assert_eq!(named.as_str_name(), format!("EVENT_KIND_{}", known.as_str().to_uppercase()));
                assert_eq!(event_kind(named.into()), Some(*known));
            }
        }
        assert_eq!((event_kind(0), event_kind(10_000)), (None, None));
    }

    #[test]
    fn a_period_is_months_or_days() {
        use proto::period::Length;
        let length = |made: Result<Period, _>| period(made.unwrap()).length;
        assert_eq!(length(Period::months(12)), Some(Length::Months(12)));
        assert_eq!(length(Period::days(1)), Some(Length::Days(1)));
    }

    #[test]
    fn a_timestamp_keeps_microseconds() {
        let at: DateTime<Utc> = "2030-01-02T03:04:05.678901Z".parse().unwrap();
        assert_eq!(timestamp(at), Timestamp { seconds: 1_893_553_445, nanos: 678_901_000 });
    }
}
