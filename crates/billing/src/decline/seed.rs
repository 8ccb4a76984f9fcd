//! The rules a new database begins with. The migration `decline_rules` writes the same rows.

use super::{CustomerAction, DeclineGroup, Rule, Schedule};
use crate::text::Text;

/// Every code that the gateway documents (its "Коды ошибок").
const DOCUMENTED: &[i32] = &[
    3001, 3002, 3003, 3004, 3005, 3006, 3007, 3008, 5001, 5003, 5004, 5005, 5006, 5007, 5012, 5013, 5014, 5015, 5017,
    5019, 5030, 5031, 5033, 5034, 5036, 5041, 5043, 5051, 5054, 5055, 5057, 5058, 5059, 5061, 5062, 5063, 5065, 5082,
    5091, 5092, 5096, 5113, 5204, 5206, 5207, 5300, 5303, 5761, 5762, 5763, 6001, 6002, 6003, 6004, 6005, 6006, 6007,
    6008, 6009, 6010, 6011, 6013, 6014, 6015, 6016, 6017, 6021, 6022, 6025,
];

/// The rows of `decline_rule`, by code.
#[must_use]
pub fn rules() -> Vec<Rule> {
    DOCUMENTED.iter().map(|code| rule(*code)).collect()
}

/// The rule of any code, documented or not.
pub(super) fn rule(code: i32) -> Rule {
    let group = DeclineGroup::of(code);
    let (action, en, ru) = told(code, group);
    let tries = Schedule::seeded(group).hours().len();
    Rule { code, group, max_retries: i32::try_from(tries).unwrap_or(0), action, message: Text::new(en, ru) }
}

/// What the customer is told.
const fn told(code: i32, group: DeclineGroup) -> (CustomerAction, &'static str, &'static str) {
    use CustomerAction as A;
    match (code, group) {
        (5033 | 5054, _) => (A::OtherCard, "The card has expired.", "Срок действия карты истёк."),
        (5082, _) => (A::CheckCard, "The card's data were not accepted.", "Данные карты не приняты."),
        (5206 | 5207, _) => {
            (A::Confirm, "The bank wants the payment to be confirmed.", "Банк требует подтвердить платёж.")
        }
        (5061 | 5065, _) => (A::RaiseLimit, "A limit of the card was reached.", "Превышен лимит операций по карте."),
        (5303, _) => (A::Wait, "The bank takes no more payments for now.", "Банк пока не принимает платежи."),
        (_, DeclineGroup::Hard) => (
            A::OtherCard,
            "The bank does not allow this card to be charged.",
            "Банк не разрешает списания с этой карты.",
        ),
        (_, DeclineGroup::Soft) => {
            (A::TopUp, "There was not enough money on the card.", "На карте недостаточно средств.")
        }
        (_, DeclineGroup::Technical) => (A::Wait, "The bank could not be reached.", "Банк не ответил."),
        (_, DeclineGroup::Conditional) => (A::CallBank, "The bank declined the charge.", "Банк отклонил списание."),
        (_, DeclineGroup::CustomerAction) => {
            (A::CheckCard, "The card's data were not accepted.", "Данные карты не приняты.")
        }
        (_, DeclineGroup::Configuration) => {
            (A::Wait, "The charge failed for a reason on our side.", "Списание не удалось по причине на нашей стороне.")
        }
    }
}
