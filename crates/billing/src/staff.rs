//! The people who work with the admin panel: what each role may do, and how passwords are kept.

pub mod password;
pub mod totp;

use crate::macros::{text_enum, uuid_id};

uuid_id! {
    /// A person of the staff.
    StaffId
}

text_enum! {
    /// What somebody is here for.
    pub enum Role {
        /// Talks to customers.
        Support = "support",
        Accountant = "accountant",
        ChiefAccountant = "chief_accountant",
        /// Looks after queues and the timetable; sees neither customers nor money.
        Operator = "operator",
        /// Sees everything and changes nothing.
        Auditor = "auditor",
        /// Looks after the staff and their roles; sees no money.
        Administrator = "administrator",
    }
}

/// What a page or an action may ask of who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Accounts, bills, payments, refunds.
    SeeCustomers,
    /// What the gateway told, receipts, differences, the log of events, and whole lists as tables.
    SeeBooks,
    /// To decide what becomes of a difference from the gateway's list.
    SettleDifferences,
    /// To cancel, to resume, to forget a card.
    ServeCustomers,
    /// To extend access, and to have the gateway asked.
    MendSubscriptions,
    /// To give money back, as far as the limits of the role go, and to speak as the second person.
    GiveBack,
    /// To agree, as the second person, to what another asks for: a payment in doubt closed by hand, an action on many rows.
    Agree,
    /// To change what refusals mean.
    ChangeRules,
    /// What the staff did.
    SeeAudit,
    /// To let people in, and to give them roles.
    ManageStaff,
    /// Personal traces of a customer, as the address that somebody paid from. Each look stands in the audit log.
    SeeTraces,
}

impl Right {
    /// Every right, in the order of its declaration.
    pub const ALL: &'static [Self] = &[
        Self::SeeCustomers,
        Self::SeeBooks,
        Self::SettleDifferences,
        Self::ServeCustomers,
        Self::MendSubscriptions,
        Self::GiveBack,
        Self::Agree,
        Self::ChangeRules,
        Self::SeeAudit,
        Self::ManageStaff,
        Self::SeeTraces,
    ];
}

impl Role {
    /// The one table of who may do what.
    #[must_use]
    pub const fn may(self, right: Right) -> bool {
        use Role::{Accountant, Administrator, Auditor, ChiefAccountant, Support};
        match right {
            Right::SeeCustomers => matches!(self, Support | Accountant | ChiefAccountant | Auditor),
            Right::SeeBooks => matches!(self, Accountant | ChiefAccountant | Auditor),
            Right::ServeCustomers => matches!(self, Support | Accountant | ChiefAccountant),
            Right::MendSubscriptions | Right::GiveBack | Right::SettleDifferences | Right::SeeTraces => {
                matches!(self, Accountant | ChiefAccountant)
            }
            Right::Agree | Right::ChangeRules => matches!(self, ChiefAccountant),
            Right::SeeAudit => matches!(self, ChiefAccountant | Auditor | Administrator),
            Right::ManageStaff => matches!(self, Administrator),
        }
    }
}

/// The longest name.
pub const MAX_NAME: usize = 60;

/// A name to sign in with is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name is from 1 to {MAX_NAME} characters: letters, digits, and . _ - @")]
pub struct BadName;

/// The name as it is kept: capitals make no other person.
///
/// # Errors
/// [`BadName`].
pub fn name(text: &str) -> Result<String, BadName> {
    let name = text.trim().to_lowercase();
    let fits = (1..=MAX_NAME).contains(&name.chars().count());
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@'));
    if fits && is_plain { Ok(name) } else { Err(BadName) }
}

#[cfg(test)]
mod tests {
    use super::{BadName, name};

    #[test]
    fn a_name_is_the_same_however_it_is_typed() {
        assert_eq!(name(" Анна.Петрова "), Ok("анна.петрова".to_owned()));
        assert_eq!(name("Ada@example.com"), Ok("ada@example.com".to_owned()));
        for wrong in ["", "  ", "two words", "<b>", "a\0b", &"a".repeat(61)] {
            assert_eq!(name(wrong), Err(BadName), "{wrong:?}");
        }
    }
}
