//! When within the window before the paid time ends a renewal is charged: spread by account, so that those who bought in the
//! same minute are not charged in the same minute.

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::AccountId;

/// The longest window. That of a short period is half of it, so that nobody is charged for the next one before half of
/// what they have is over.
pub const WINDOW: TimeDelta = TimeDelta::days(1);

/// Where in its window an account is charged, of 2^32 places. The same in every release and on every machine: the first
/// four bytes, the highest first, of the SHA-256 of the id's sixteen bytes. The database's `window_place` is the same
/// function.
#[must_use]
pub fn window_place(id: AccountId) -> u32 {
    let hash: [u8; 32] = Sha256::digest(id.get().as_bytes()).into();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// When the renewal behind a paid period is charged, in whole seconds from where its window opens. The database's
/// `renewal_at` is the same function.
#[must_use]
pub fn renewal_at(id: AccountId, begins: DateTime<Utc>, ends: DateTime<Utc>) -> DateTime<Utc> {
    let window = ((ends - begins) / 2).min(WINDOW);
    // At most a day of seconds times 2^32: far from the end of 64 bits.
    let within = (window.num_seconds() * i64::from(window_place(id))) >> 32;
    ends - window + TimeDelta::seconds(within)
}
