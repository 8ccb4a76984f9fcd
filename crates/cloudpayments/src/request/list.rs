//! Which transactions to list.

use chrono::{DateTime, FixedOffset, SecondsFormat};

use super::body::Body;
use crate::TransactionStatus;

/// Which transactions to list: those created in a stretch of time, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// Not created earlier.
    pub created_from: DateTime<FixedOffset>,
    /// Not created later.
    pub created_to: DateTime<FixedOffset>,
    /// The zone of the dates in the answer, by the gateway's code (`MSK`); UTC if none.
    pub time_zone: Option<String>,
    /// Only these; all if empty. [`TransactionStatus::AwaitingAuthentication`] cannot be asked for.
    pub statuses: Vec<TransactionStatus>,
}

impl ListRequest {
    /// Everything created in that stretch.
    pub fn created_between(from: impl Into<DateTime<FixedOffset>>, to: impl Into<DateTime<FixedOffset>>) -> Self {
        Self { created_from: from.into(), created_to: to.into(), time_zone: None, statuses: Vec::new() }
    }

    /// Pages count from one.
    pub(crate) fn body(&self, page: u32) -> Vec<u8> {
        let iso = |moment: &DateTime<FixedOffset>| moment.to_rfc3339_opts(SecondsFormat::AutoSi, false);
        let statuses: Vec<_> = self.statuses.iter().map(|status| status.as_str()).collect();
        Body::default()
            .field("PageNumber", &page)
            .field("CreatedDateGte", &iso(&self.created_from))
            .field("CreatedDateLte", &iso(&self.created_to))
            .optional("TimeZone", self.time_zone.as_ref())
            .optional("Statuses", Some(&statuses).filter(|statuses| !statuses.is_empty()))
            .finish()
    }
}
