//! The ledger: what an event of money comes to in double entry. Pure.
//!
//! An [`Entry`] is made of postings, each from one account to another, so it balances by the way it is made; the database
//! holds it to that once more. Amounts are those of one currency.

mod entry;
mod money;

pub use self::entry::{Entry, EntryKind, LedgerAccount, Posting, Subject};
pub use self::money::{Taken, given_back, place, set_aside, taken};
