//! The keys that seal secrets: which are needed, and sealing anew what an older one has sealed.
//!
//! A key is changed while everything runs: added last and rolled out, so that everybody opens what it seals; moved first and
//! rolled out, so that it seals; then all that older keys have sealed is [sealed anew](reseal), a [page] at a time; and
//! when no row and no backup needs the old one any more, it is taken away. [`admit`] is asked by every process at its start,
//! and lets none begin that lacks a key which is needed.
//!
//! Which key sealed a secret stands in front of it, in the row.

mod pages;
mod register;

pub use self::pages::{Cursor, Page, Resealed, Sealed, page, reseal};
pub use self::register::{KeyInUse, NotAdmitted, admit, known, retire, usage};
