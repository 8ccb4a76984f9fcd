//! Why a bill is in its state.

use super::{Explanation, Next, Text, Whom};
use crate::bill::{BillKind, BillStatus};

/// Why a bill with this status is where it is. While an attempt is live its own explanation says what comes next, and
/// while it is owed the subscription's does.
#[must_use]
pub fn bill(
    status: BillStatus,
    kind: BillKind,
    attempt: Option<&Explanation>,
    subscription: Option<&Explanation>,
) -> Explanation {
    let (why, next) = match status {
        BillStatus::InWork if kind == BillKind::Verification => (
            Text::new("A card is being verified; nothing is owed.", "Проверяется карта; платить ничего не нужно."),
            attempt.map_or_else(pay, |explained| explained.next.clone()),
        ),
        BillStatus::Void if kind == BillKind::Verification => (
            Text::new("A card was to be verified; nothing is owed.", "Проверялась карта; платить ничего не нужно."),
            Next::Nothing,
        ),
        BillStatus::InWork if kind == BillKind::Change => (
            Text::new(
                "A payment for another tariff, from that day on, is under way.",
                "Идёт оплата перехода на другой тариф с этого дня.",
            ),
            attempt.map_or_else(pay, |explained| explained.next.clone()),
        ),
        BillStatus::Void if kind == BillKind::Change => (
            Text::new(
                "Another tariff was to begin at once and was not paid; the tariff stayed as it was.",
                "Переход на другой тариф не был оплачен; тариф остался прежним.",
            ),
            Next::Nothing,
        ),
        BillStatus::NotPaid => (
            Text::new("It is owed; nothing is being charged.", "Не оплачен; списание не идёт."),
            subscription.map_or_else(pay, |explained| explained.next.clone()),
        ),
        BillStatus::InWork => (
            Text::new("A payment for it is under way.", "Идёт оплата."),
            attempt.map_or_else(pay, |explained| explained.next.clone()),
        ),
        BillStatus::Paid => (Text::new("It is paid.", "Оплачен."), Next::Nothing),
        BillStatus::Void => (Text::new("It was taken back before it was paid.", "Отозван до оплаты."), Next::Nothing),
        BillStatus::Uncollectible => (
            Text::new(
                "It was given up: the time to pay it is over. Should money come after all, it is paid.",
                "Списан как безнадёжный: срок оплаты истёк. Если деньги всё же придут, он будет оплачен.",
            ),
            Next::Nothing,
        ),
        BillStatus::PartiallyRefunded => {
            (Text::new("A part of the money went back.", "Часть денег возвращена."), Next::Nothing)
        }
        BillStatus::Refunded => {
            (Text::new("All of the money went back.", "Деньги возвращены полностью."), Next::Nothing)
        }
    };
    Explanation { why, next }
}

fn pay() -> Next {
    let what = Text::new("The customer may pay it with any card.", "Покупатель может оплатить любой картой.");
    Next::WaitsFor { whom: Whom::Customer, what }
}
