//! What a reason code means: for the next try, and for the customer.

use super::{DeclineGroup, MAX_TRIES, Schedule};
use crate::macros::text_enum;
use crate::text::Text;

text_enum! {
    /// What the customer can do about a refusal.
    pub enum CustomerAction {
        /// Nothing: it is not their fault.
        Wait = "wait",
        TopUp = "top_up",
        RaiseLimit = "raise_limit",
        /// Type the card in again.
        CheckCard = "check_card",
        /// Pay anew, and confirm it on the bank's page.
        Confirm = "confirm",
        OtherCard = "other_card",
        CallBank = "call_bank",
    }
}

impl CustomerAction {
    /// What to tell them to do; empty when there is nothing.
    #[must_use]
    pub fn text(self) -> Text {
        let (en, ru) = match self {
            Self::Wait => ("", ""),
            Self::TopUp => ("Top up the card or pay with another one.", "Пополните карту или оплатите другой."),
            Self::RaiseLimit => (
                "Raise the limit in your bank's app or pay with another card.",
                "Увеличьте лимит в приложении банка или оплатите другой картой.",
            ),
            Self::CheckCard => (
                "Check the card's data and pay again, or take another card.",
                "Проверьте данные карты и оплатите ещё раз или возьмите другую карту.",
            ),
            Self::Confirm => (
                "Pay again and confirm the payment on the bank's page.",
                "Оплатите ещё раз и подтвердите платёж на странице банка.",
            ),
            Self::OtherCard => ("Pay with another card.", "Оплатите другой картой."),
            Self::CallBank => {
                ("Ask your bank, or pay with another card.", "Обратитесь в банк или оплатите другой картой.")
            }
        };
        Text::new(en, ru)
    }
}

/// The longest wording, in characters.
pub const MAX_MESSAGE: usize = 300;

/// What a reason code means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The gateway's reason code, as in 5051.
    pub code: i32,
    pub group: DeclineGroup,
    /// At most so many of the tries of the group's schedule.
    pub max_retries: i32,
    pub action: CustomerAction,
    /// What the customer is told.
    pub message: Text,
}

/// A rule that must not be. Says which field, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    #[error("max_retries: 0 to {MAX_TRIES}")]
    Retries,
    #[error("max_retries: after a refusal of the group {0} a card is not charged again")]
    CardIsBarred(DeclineGroup),
    #[error("the message in {0}: 1 to {MAX_MESSAGE} characters")]
    Message(&'static str),
}

impl Rule {
    /// What holds for a code that has no row.
    #[must_use]
    pub fn unlisted(code: i32) -> Self {
        super::seed::rule(code)
    }

    /// What the customer is told: why, and what they can do.
    #[must_use]
    pub fn wording(&self) -> Text {
        let action = self.action.text();
        let join = |why: &str, what: String| if what.is_empty() { why.to_owned() } else { format!("{why} {what}") };
        Text::new(join(&self.message.en, action.en), join(&self.message.ru, action.ru))
    }

    /// What holds where there is no card that may be charged: the gateway was not asked, so there is no code.
    #[must_use]
    pub fn without_a_card() -> Self {
        Self {
            code: 0,
            group: DeclineGroup::CustomerAction,
            max_retries: 0,
            action: CustomerAction::OtherCard,
            message: Text::new("There is no card that may be charged.", "Нет карты, с которой можно списать."),
        }
    }

    /// What holds where a charge came to nothing through our own fault.
    #[must_use]
    pub fn not_charged() -> Self {
        Self {
            code: 0,
            group: DeclineGroup::Configuration,
            max_retries: 0,
            action: CustomerAction::Wait,
            message: Text::new(
                "The charge failed for a reason on our side.",
                "Списание не удалось по причине на нашей стороне.",
            ),
        }
    }

    /// What holds where the kept card has expired: the gateway was not asked, and would say this.
    #[must_use]
    pub fn expired_card() -> Self {
        const EXPIRED_CARD: i32 = 5054;
        Self::unlisted(EXPIRED_CARD)
    }

    /// What holds where the bank asks for 3-D Secure, which a charge without the customer cannot answer.
    #[must_use]
    pub fn three_ds() -> Self {
        const AUTHENTICATION_FAILED: i32 = 5206;
        Self::unlisted(AUTHENTICATION_FAILED)
    }

    /// Whether the rule keeps what holds whatever the staff decides.
    ///
    /// # Errors
    /// [`BadRule`].
    pub fn check(&self) -> Result<(), BadRule> {
        match usize::try_from(self.max_retries) {
            Ok(0) => {}
            Ok(1..=MAX_TRIES) if self.group.bars_the_card() => return Err(BadRule::CardIsBarred(self.group)),
            Ok(1..=MAX_TRIES) => {}
            _ => return Err(BadRule::Retries),
        }
        let fits = |text: &str| !text.trim().is_empty() && text.chars().count() <= MAX_MESSAGE && !text.contains('\0');
        for (language, text) in [("English", &self.message.en), ("Russian", &self.message.ru)] {
            if !fits(text) {
                return Err(BadRule::Message(language));
            }
        }
        Ok(())
    }
}

/// A rule with the schedule of its group: all that a refusal is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    pub rule: Rule,
    pub schedule: Schedule,
}

impl Ruling {
    /// What a new database says of a code.
    #[must_use]
    pub fn seeded(code: i32) -> Self {
        let rule = Rule::unlisted(code);
        let schedule = Schedule::seeded(rule.group);
        Self { rule, schedule }
    }

    /// When it is tried again, and whether at all.
    #[must_use]
    pub fn terms(&self) -> RetryTerms {
        let tries = usize::try_from(self.rule.max_retries).unwrap_or(0);
        let bars_the_card = self.rule.group.bars_the_card();
        RetryTerms {
            bars_the_card,
            schedule: if bars_the_card { Schedule::NEVER } else { self.schedule.at_most(tries) },
        }
    }
}

/// What a refusal means for the tries after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryTerms {
    /// This card is not charged again without the customer.
    pub bars_the_card: bool,
    pub schedule: Schedule,
}

impl RetryTerms {
    /// Only the customer can pay it.
    pub const CUSTOMER_MUST_PAY: Self = Self { bars_the_card: true, schedule: Schedule::NEVER };

    /// Those of a group in a new database.
    #[must_use]
    pub const fn seeded(group: DeclineGroup) -> Self {
        Self { bars_the_card: group.bars_the_card(), schedule: Schedule::seeded(group) }
    }
}
