//! What the staff look at: lists that are as fast on the last page as on the first, and everything about one row. Reads only.

mod accounts;
mod bills;
mod differences;
mod events;
mod find;
mod notifications;
mod payments;
mod refunds;
mod tariffs;
mod waiting;

use chrono::{DateTime, Utc};
use uuid::{NoContext, Timestamp, Uuid};

use super::StoreError;

pub use self::accounts::{AccountCursor, AccountFilter, AccountLine, accounts};
pub use self::bills::{BillFilter, WholeBill, bill, bills};
pub use self::differences::{DifferenceCursor, DifferenceFilter, differences};
pub use self::events::{EventFilter, events};
pub use self::find::{Found, by_card, by_id, by_number};
pub use self::notifications::{NotificationCursor, NotificationFilter, NotificationLine, notifications};
pub use self::payments::{PaymentFilter, WholePayment, payment, payments};
pub use self::refunds::{RefundFilter, refunds};
pub use self::tariffs::{TariffLine, tariffs};
pub use self::waiting::{MOST, Waiting, waiting};

/// Which part of a list: it is sorted, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<C> {
    /// From the newest on.
    First,
    /// Behind this row.
    OlderThan(C),
    /// Before this row.
    NewerThan(C),
}

/// A part of a list, and whether there is more on either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T> {
    pub rows: Vec<T>,
    pub has_newer: bool,
    pub has_older: bool,
}

impl<T> Slice<T> {
    /// Of rows as they were read: one more than `limit` were asked for, and those before a row with the nearest first.
    pub(in crate::store) fn new<C>(mut rows: Vec<T>, part: &Part<C>, limit: i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or_default();
        let more = rows.len() > limit;
        rows.truncate(limit);
        match part {
            Part::First => Self { rows, has_newer: false, has_older: more },
            Part::OlderThan(_) => Self { rows, has_newer: true, has_older: more },
            Part::NewerThan(_) => {
                rows.reverse();
                Self { rows, has_newer: more, has_older: true }
            }
        }
    }
}

/// Rows made from one time on and before another. Their ids tell when they were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Made {
    pub from: Option<DateTime<Utc>>,
    pub before: Option<DateTime<Utc>>,
}

/// The least id of a row that is made at this time.
fn least_id(at: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
    let made = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, at.timestamp_subsec_nanos()));
    let mut bytes = *made.as_bytes();
    bytes[6] = 0x70;
    bytes[7..].fill(0);
    bytes[8] = 0x80;
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_time_are_between_the_least_ids() {
        let made = Uuid::now_v7();
        let (seconds, nanos) = made.get_timestamp().unwrap().to_unix();
        let at = DateTime::from_timestamp(seconds.cast_signed(), nanos).unwrap();
        assert!(least_id(at) <= made && made < least_id(at + chrono::TimeDelta::milliseconds(1)));
    }

    #[test]
    fn a_part_before_a_row_is_turned_round() {
        let slice = Slice::new(vec![3, 4, 5], &Part::NewerThan(2), 2);
        assert_eq!(slice, Slice { rows: vec![4, 3], has_newer: true, has_older: true });
        let slice = Slice::new(vec![1], &Part::OlderThan(2), 2);
        assert_eq!(slice, Slice { rows: vec![1], has_newer: true, has_older: false });
    }
}
