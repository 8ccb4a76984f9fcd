//! The ledger: what an event of money comes to in double entry. Pure.
//!
//! An [`Entry`] is made of postings, each from one account to another, so it balances by the way it is made; the database
//! holds it to that once more. Amounts are those of one currency.

mod entry;
mod money;
mod recognition;
mod vat;

pub(crate) use self::entry::day_of;
pub use self::entry::{Entry, EntryKind, LedgerAccount, Posting, Subject};
pub use self::money::{
    PaidOut, Return, ReturnedBy, Standing, Taken, earned, key_of_return, paid_out, place, place_return, returned,
    set_aside, set_aside_return, taken,
};
pub use self::recognition::Deferral;
pub use self::vat::{NotARate, SaleTerms, VatRate};
