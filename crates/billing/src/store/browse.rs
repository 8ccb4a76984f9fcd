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

pub use self::accounts::{AccountCursor, AccountFilter, AccountKey, AccountLine, accounts};
pub use self::bills::{BillFilter, WholeBill, bill, bills, customer_address};
pub use self::differences::{DifferenceCursor, DifferenceFilter, differences};
pub use self::events::{EventFilter, events};
pub use self::find::{Found, by_card, by_id, by_number};
pub use self::notifications::{NotificationCursor, NotificationFilter, NotificationLine, notifications};
pub use self::payments::{PaymentCursor, PaymentFilter, PaymentKey, WholePayment, payment, payments};
pub use self::refunds::{RefundCursor, RefundFilter, RefundKey, refunds};
pub use self::tariffs::{TariffLine, tariffs};
pub use self::waiting::{MOST, Waiting, waiting};

/// Which way a list is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest, or the largest, first.
    #[default]
    Descending,
    /// The oldest, or the smallest, first.
    Ascending,
}

/// By what a list is sorted, and which way. Only what an index leads to can be chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sort<K> {
    pub by: K,
    pub order: Order,
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<C> {
    /// From its beginning on.
    First,
    /// Behind this row, in the order of the list.
    Behind(C),
    /// Before this row.
    Before(C),
}

impl<C> Part<C> {
    /// From which row on, and whether upwards, the part is read of a list in this order. Rows before a place are read from
    /// it backwards, and [`Slice::new`] turns them round.
    pub(in crate::store) fn reading(&self, order: Order) -> (Option<&C>, bool) {
        let is_ascending = order == Order::Ascending;
        match self {
            Self::First => (None, is_ascending),
            Self::Behind(place) => (Some(place), is_ascending),
            Self::Before(place) => (Some(place), !is_ascending),
        }
    }
}

/// How a row is compared with the place from which rows are read.
pub(in crate::store) const fn beyond(is_ascending: bool) -> &'static str {
    if is_ascending { ">" } else { "<" }
}

/// A part of a list, and whether there is more on either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T> {
    pub rows: Vec<T>,
    pub has_before: bool,
    pub has_behind: bool,
}

impl<T> Slice<T> {
    /// Of rows as they were read: one more than `limit` were asked for, and those before a row with the nearest first.
    pub(in crate::store) fn new<C>(mut rows: Vec<T>, part: &Part<C>, limit: i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or_default();
        let more = rows.len() > limit;
        rows.truncate(limit);
        match part {
            Part::First => Self { rows, has_before: false, has_behind: more },
            Part::Behind(_) => Self { rows, has_before: true, has_behind: more },
            Part::Before(_) => {
                rows.reverse();
                Self { rows, has_before: more, has_behind: true }
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
    fn a_part_is_read_away_from_its_place() {
        let read = |part: Part<i32>, order| {
            let (place, is_ascending) = part.reading(order);
            (place.copied(), beyond(is_ascending))
        };
        use Order::{Ascending, Descending};
        for (part, order, is) in [
            (Part::First, Descending, (None, "<")),
            (Part::Behind(2), Descending, (Some(2), "<")),
            (Part::Before(2), Descending, (Some(2), ">")),
            (Part::First, Ascending, (None, ">")),
            (Part::Behind(2), Ascending, (Some(2), ">")),
            (Part::Before(2), Ascending, (Some(2), "<")),
        ] {
            assert_eq!(read(part, order), is, "{part:?}, {order:?}");
        }
    }

    #[test]
    fn a_part_before_a_row_is_turned_round() {
        let slice = Slice::new(vec![3, 4, 5], &Part::Before(2), 2);
        assert_eq!(slice, Slice { rows: vec![4, 3], has_before: true, has_behind: true });
        let slice = Slice::new(vec![1], &Part::Behind(2), 2);
        assert_eq!(slice, Slice { rows: vec![1], has_before: true, has_behind: false });
    }
}
