//! Every date stands twice in an answer.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// A date as `CreatedDate` has it: `/Date(1635154784619)/`, milliseconds since the epoch.
pub(super) struct DotNetDate(pub(super) DateTime<Utc>);

impl Serialize for DotNetDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("/Date({})/", self.0.timestamp_millis()))
    }
}

/// A date as `CreatedDateIso` has it: `2021-10-25T09:39:44`, UTC, without saying so.
pub(super) struct IsoDate(pub(super) DateTime<Utc>);

impl Serialize for IsoDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.format("%Y-%m-%dT%H:%M:%S"))
    }
}
