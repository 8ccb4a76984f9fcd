//! Who subscribes in the month that is played, and what becomes of them. Pure: the same people each time, with the same
//! numbers, so that a page of documentation may name one.

use billing::AccountId;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How many subscribe.
pub(super) const PEOPLE: u64 = 500;
/// So many days are played. Who comes on the first of them is renewed, and refused for as long as that may go on.
pub(super) const DAYS: i64 = 45;
/// So many come in the first days: those who are renewed.
const FIRST_COMERS: u64 = 200;
const FIRST_DAYS: i64 = 12;

/// What somebody buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bought {
    Day,
    Month,
    Year,
    /// A month, after a trial for nothing.
    Trial,
}

/// What becomes of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// Registers, and that is all.
    OnlyLooks,
    /// Gives up after the first card is refused.
    GivesUp,
    /// Pays with another card some minutes after the first was refused.
    HasAnotherCard,
    /// The first renewals are refused for this reason, so many times; then it is paid.
    Recovers {
        code: u16,
        refusals: usize,
    },
    /// Every renewal is refused for this reason.
    Refused {
        code: u16,
    },
    /// The card is lost, and the customer comes back with another after so many days.
    ComesBack {
        after: i64,
    },
    Cancels {
        after: i64,
    },
    CancelsAndResumes {
        after: i64,
    },
    ForgetsCard {
        after: i64,
    },
    /// Takes it back within so many hours; `part`: gets a part of the money back.
    WantsMoneyBack {
        after_hours: i64,
        part: bool,
    },
    /// The gateway refuses to give the money back.
    CannotBePaidBack,
    /// The bank takes the money back.
    ChargedBack {
        after: i64,
    },
    /// The answer to the renewal is lost; a look at the gateway finds it.
    AnswerIsLost,
    /// The gateway speaks of another amount than was asked for: only a person can decide.
    IsInDoubt,
    /// No receipt is made of the payment.
    LacksReceipt,
}

/// Somebody who subscribes.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) id: AccountId,
    pub(super) comes_at: DateTime<Utc>,
    pub(super) buys: Bought,
    pub(super) fate: Fate,
    /// All digits, and `MM/YY`: of each pair there is one, for a card has one trial.
    pub(super) card: (&'static str, String),
}

/// Test cards of the gateway that pay, also by their token.
const CARDS: [&str; 6] = [
    "4000000000003055",
    "4242424242424242",
    "5205000000003055",
    "5555555555554444",
    "2202000000003055",
    "2200000000000004",
];
/// Never pays.
pub(super) const POOR_CARD: &str = "4000056655665556";

/// Everybody, in the order in which they come. The last day ends at `now`.
pub(super) fn everybody(now: DateTime<Utc>) -> Vec<Person> {
    let begin = now - TimeDelta::days(DAYS);
    let mut people: Vec<Person> = (0..PEOPLE).map(|n| person(n, begin)).collect();
    people.sort_by_key(|person| person.comes_at);
    people
}

fn person(n: u64, begin: DateTime<Utc>) -> Person {
    let is_early = n < FIRST_COMERS;
    let (days, after) = if is_early { (FIRST_DAYS, 0) } else { (DAYS - FIRST_DAYS - 1, FIRST_DAYS) };
    let minutes = i64::try_from(noise(n) % days.unsigned_abs().saturating_mul(24 * 60)).unwrap_or_default();
    let (buys, fate) = if is_early { early(n) } else { late(n - FIRST_COMERS) };
    let month = n / CARDS.len() as u64;
    Person {
        id: AccountId::from(
            uuid::Builder::from_random_bytes(Uuid::from_u64_pair(noise(n + 1_000), n).into_bytes()).into_uuid(),
        ),
        comes_at: begin + TimeDelta::days(after) + TimeDelta::minutes(minutes),
        buys,
        fate,
        card: (
            CARDS[usize::try_from(n).unwrap_or_default() % CARDS.len()],
            format!("{:02}/{}", month % 12 + 1, 28 + month / 12),
        ),
    }
}

/// Who is renewed within the days.
fn early(n: u64) -> (Bought, Fate) {
    use Bought::{Month, Year};
    match n {
        // One each.
        30 => (Month, Fate::WantsMoneyBack { after_hours: 20, part: false }),
        31 => (Month, Fate::WantsMoneyBack { after_hours: 300, part: true }),
        32 => (Month, Fate::ChargedBack { after: 28 }),
        33 => (Month, Fate::IsInDoubt),
        34 => (Month, Fate::AnswerIsLost),
        35 => (Year, Fate::CannotBePaidBack),
        _ => match n % 25 {
            0 => (Month, Fate::Recovers { code: 5051, refusals: 1 }),
            1 => (Month, Fate::Recovers { code: 5051, refusals: 3 }),
            2 => (Month, Fate::Refused { code: 5051 }),
            3 => (Month, Fate::Refused { code: 5041 }),
            4 => (Month, Fate::Recovers { code: 5091, refusals: 1 }),
            5 => (Month, Fate::Cancels { after: 10 }),
            6 => (Month, Fate::HasAnotherCard),
            7 => (Year, Fate::Stays),
            8 => (Month, Fate::CancelsAndResumes { after: 12 }),
            9 => (Month, Fate::ForgetsCard { after: 15 }),
            10 => (Month, Fate::Refused { code: 5054 }),
            11 => (Month, Fate::Recovers { code: 5061, refusals: 2 }),
            12 => (Month, Fate::ComesBack { after: 2 }),
            _ => (Month, Fate::Stays),
        },
    }
}

fn late(n: u64) -> (Bought, Fate) {
    use Bought::{Day, Month, Trial, Year};
    let few = i64::try_from(n % 6).unwrap_or_default();
    match n {
        40 => (Month, Fate::WantsMoneyBack { after_hours: 30, part: false }),
        41 => (Year, Fate::WantsMoneyBack { after_hours: 50, part: true }),
        299 => (Month, Fate::LacksReceipt),
        _ => match n % 20 {
            0 => (Month, Fate::GivesUp),
            1 => (Month, Fate::HasAnotherCard),
            2 | 3 => (Trial, Fate::Stays),
            4 => (Trial, Fate::Cancels { after: 2 }),
            5 => (Day, Fate::Cancels { after: 3 + few }),
            6 => (Year, Fate::Stays),
            7 => (Month, Fate::Cancels { after: 3 + few }),
            8 => (Month, Fate::OnlyLooks),
            _ => (Month, Fate::Stays),
        },
    }
}

/// A number that looks like any other, and is the same each time (splitmix64).
pub(super) fn noise(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
