//! The way of an attempt through the database.
//!
//! | call | who | from → to |
//! |---|---|---|
//! | [`create`] | api | – → `created`; `awaiting_3ds` → `abandoned` of who pays anew |
//! | [`begin_sending`] | worker, before the request | `created` → `sending` |
//! | [`apply`] | worker, after the answer | any → what the machine says |
//! | [`submit_pa_res`] | api | `awaiting_3ds` → `posting_3ds` |
//! | [`begin_posting`] | worker, before the request | `posting_3ds`, marked as on its way |
//! | [`begin_resolving`], [`begin_resend`] | worker | `sending` … → `unknown` → `sending` |
//! | [`holds`], [`claim_hold`] | timetable, worker | finds what is `authorized`, to be taken or let go |
//! | [`stranded`], [`unresolved`], [`overdue_three_ds`], [`told`] | timetable | finds what nobody turns to |

pub(in crate::store) mod apply;
pub(in crate::store) mod bill;
mod conflicts;
pub(in crate::store) mod create;
mod effect;
mod find;
mod given_back;
mod hold;
pub(in crate::store) mod load;
pub(in crate::store) mod look;
mod send;
pub(in crate::store) mod story;
mod three_ds;
pub(in crate::store) mod trial;
mod verified;
mod view;

pub(in crate::store) use self::apply::settle;
pub use self::apply::{Applied, apply, apply_answer};
pub use self::create::{CreateError, Created, MAX_CRYPTOGRAM, MAX_IDEMPOTENCY_KEY, NewPayment, create, created_before};
pub use self::effect::Effect;
pub use self::find::{DueLook, Stranded, Wake, overdue_three_ds, stranded, told, unresolved};
pub use self::hold::{Hold, claim_hold, holds};
pub use self::look::{Look, Resolve, begin_resolving, count_unprocessed};
pub(in crate::store) use self::send::withdraw_unsent_renewal;
pub use self::send::{Begin, ChargeInstrument, ChargeOrder, Resend, begin_resend, begin_sending};
pub use self::three_ds::{Begin3ds, MAX_PA_RES, PostOrder, SubmitError, begin_posting, submit_pa_res};
pub use self::trial::NoTrial;
pub use self::view::{PaymentView, ThreeDsView, account_of, get, said_of_refusals};
