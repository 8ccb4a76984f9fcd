//! A subscription as its caller sees it: the row, and why it is so and what comes next.

use billing::explain::{Explanation, Next, Text, When};
use billing::payment::CardMask;
use billing::store::subscriptions::Subscription;
use billing::times::Times;
use chrono::{DateTime, Utc};

use crate::convert::{self, timestamp};
use crate::proto;

pub(crate) fn subscription(found: &Subscription, times: &Times, now: DateTime<Utc>) -> proto::Subscription {
    let account = &found.account;
    let under_way = found.open.as_ref().and_then(|open| open.payment.as_ref());
    let Explanation { why, next } = found.explained(times, now);
    let (next, next_at) = match next {
        Next::Step { at, what } => (Some(what), at),
        Next::WaitsFor { what, .. } => (Some(what), When::Soon),
        Next::Nothing => (None, When::Soon),
    };
    proto::Subscription {
        access: Some(convert::access(account.id, &account.access(now))),
        paid_until: account.paid_until.map(timestamp),
        cancel_at_period_end: account.cancel_at_period_end,
        closed_at: account.closed_at.map(timestamp),
        is_trial: account.is_on_trial(),
        trial_used: account.trial_period_no.is_some(),
        next_charge: found.next_charge().map(convert::next_charge),
        card: found.card.clone().map(card),
        renewal_payment_id: under_way.map(|(view, _)| view.id.to_string()).unwrap_or_default(),
        why: Some(text(why)),
        next: next.map(text),
        next_at: match next_at {
            When::At(at) => Some(timestamp(at)),
            When::Soon => None,
        },
        pending_tariff_id: account.pending_tariff_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

fn text(text: Text) -> proto::Text {
    proto::Text { en: text.en, ru: text.ru }
}

fn card(mask: CardMask) -> proto::Card {
    proto::Card {
        first_six: mask.first_six.unwrap_or_default(),
        last_four: mask.last_four.unwrap_or_default(),
        expires: mask.expires.unwrap_or_default(),
        scheme: mask.scheme.unwrap_or_default(),
    }
}
