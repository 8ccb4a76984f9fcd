//! The fifteen test cards of the gateway's documentation ("Тестирование") and what each of them does.

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

/// A payment system, printed as `CardType` of the transaction model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Brand {
    Visa,
    MasterCard,
    #[serde(rename = "MIR")]
    Mir,
}

impl Brand {
    /// By the first digits of the card number; `None` for systems without a test card.
    pub(crate) fn of(first_six: &str) -> Option<Self> {
        match first_six.as_bytes() {
            [b'4', ..] => Some(Self::Visa),
            [b'2', b'2', b'0', b'0'..=b'4', ..] => Some(Self::Mir),
            [b'2' | b'5', ..] => Some(Self::MasterCard),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Visa => "Visa",
            Self::MasterCard => "MasterCard",
            Self::Mir => "MIR",
        }
    }

    /// `CardTypeCode` of the transaction model.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Visa => 0,
            Self::MasterCard => 1,
            Self::Mir => 3,
        }
    }
}

/// What the bank of a test card answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BankAnswer {
    Success,
    /// Reason code 5051.
    InsufficientFunds,
}

/// One test card. Any expiry that is not past, and any CVV, go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TestCard {
    #[serde(rename = "card_number")]
    pub number: &'static str,
    pub brand: Brand,
    pub three_ds: bool,
    /// Answer to a charge by cryptogram (after 3-D Secure, if the card has it).
    pub charge: BankAnswer,
    /// Answer to a later charge by the token of this card; a card that never pays has no token.
    pub token_charge: Option<BankAnswer>,
}

/// All fifteen, in the order of the documentation.
pub const TEST_CARDS: [TestCard; 15] = {
    use Brand::{MasterCard, Mir, Visa};
    [
        pays(Visa, true, "4242424242424242"),
        pays(MasterCard, true, "5555555555554444"),
        pays(Mir, true, "2200000000000004"),
        has_no_money(Visa, true, "4012888888881881"),
        has_no_money(MasterCard, true, "5105105105105100"),
        has_no_money(Mir, true, "2202202202202200"),
        pays(Visa, false, "4000000000003055"),
        pays(MasterCard, false, "5205000000003055"),
        pays(Mir, false, "2202000000003055"),
        pays_once(Visa, "4111111111111111"),
        pays_once(MasterCard, "5200828282828210"),
        pays_once(Mir, "2200000022222222"),
        has_no_money(Visa, false, "4000056655665556"),
        has_no_money(MasterCard, false, "5404000000000043"),
        has_no_money(Mir, false, "2203000000000043"),
    ]
};

const fn pays(brand: Brand, three_ds: bool, number: &'static str) -> TestCard {
    TestCard { number, brand, three_ds, charge: BankAnswer::Success, token_charge: Some(BankAnswer::Success) }
}

const fn pays_once(brand: Brand, number: &'static str) -> TestCard {
    let token_charge = Some(BankAnswer::InsufficientFunds);
    TestCard { number, brand, three_ds: false, charge: BankAnswer::Success, token_charge }
}

const fn has_no_money(brand: Brand, three_ds: bool, number: &'static str) -> TestCard {
    TestCard { number, brand, three_ds, charge: BankAnswer::InsufficientFunds, token_charge: None }
}

impl TestCard {
    pub(crate) fn by_number(number: &str) -> Option<&'static Self> {
        TEST_CARDS.iter().find(|card| card.number == number)
    }

    /// First six and last four digits are enough: they differ between all test cards.
    pub(crate) fn by_mask(first_six: &str, last_four: &str) -> Option<&'static Self> {
        TEST_CARDS.iter().find(|card| card.number.starts_with(first_six) && card.number.ends_with(last_four))
    }
}

/// Month and year a card is valid through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Expiry {
    pub(crate) month: u8,
    /// Four digits.
    pub(crate) year: u16,
}

impl Expiry {
    /// Two digits each; a year is of this century.
    pub(crate) fn new(month: &str, year: &str) -> Option<Self> {
        let digits = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten();
        let (month, year) = (digits(month)?, digits(year)?);
        (1..=12).contains(&month).then_some(Self { month, year: 2000 + u16::from(year) })
    }

    /// A card is good to the end of its month (UTC here).
    pub(crate) fn is_past(self, now: DateTime<Utc>) -> bool {
        (now.year(), now.month()) > (i32::from(self.year), u32::from(self.month))
    }

    /// `MM/YY`, as `CardExpDate` shows it.
    pub(crate) fn month_year(self) -> String {
        format!("{:02}/{:02}", self.month, self.year % 100)
    }

    /// `YYMM`, as a cryptogram's header carries it.
    pub(crate) fn year_month(self) -> String {
        format!("{:02}{:02}", self.year % 100, self.month)
    }
}

/// What the ledger keeps of a card: never its full number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct CardMask {
    pub(crate) first_six: String,
    pub(crate) last_four: String,
    pub(crate) expiry: Expiry,
}

impl CardMask {
    pub(crate) fn test_card(&self) -> Option<&'static TestCard> {
        TestCard::by_mask(&self.first_six, &self.last_four)
    }

    /// `424242******4242`
    pub(crate) fn masked(&self) -> String {
        format!("{}******{}", self.first_six, self.last_four)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn first_six_and_last_four_tell_the_test_cards_apart() {
        let masks: HashSet<_> = TEST_CARDS.iter().map(|card| (&card.number[..6], &card.number[12..])).collect();
        assert_eq!(masks.len(), TEST_CARDS.len());
        for card in &TEST_CARDS {
            assert_eq!(TestCard::by_mask(&card.number[..6], &card.number[12..]), Some(card));
            assert_eq!(Brand::of(&card.number[..6]), Some(card.brand));
        }
    }

    #[test]
    fn a_card_is_good_to_the_end_of_its_month() {
        let expiry = Expiry::new("11", "26").unwrap();
        assert!(!expiry.is_past("2026-11-30T23:59:59Z".parse().unwrap()));
        assert!(expiry.is_past("2026-12-01T00:00:00Z".parse().unwrap()));
        assert!(Expiry::new("13", "26").is_none());
    }
}
