//! Streams of events.

use billing::event::{EventKind, ResumeToken};

use super::fields::Fields;
use crate::error::ApiError;
use crate::{convert, proto};

/// A sound `WatchEventsRequest`.
pub(crate) struct WatchEventsForm {
    pub(crate) token: Option<ResumeToken>,
    pub(crate) kinds: Vec<EventKind>,
}

pub(crate) fn watch_events(request: &proto::WatchEventsRequest) -> Result<WatchEventsForm, ApiError> {
    let mut fields = Fields::default();
    let token = fields.resume_token(&request.resume_token);
    let kinds = request.kinds.iter().map(|kind| convert::event_kind(*kind)).collect::<Option<Vec<_>>>();
    if kinds.is_none() {
        fields.broken("kinds", "must be kinds of this version other than EVENT_KIND_UNSPECIFIED");
    }
    if !fields.0.is_empty() {
        return Err(fields.into());
    }
    Ok(WatchEventsForm { token, kinds: kinds.unwrap_or_default() })
}

/// The token of a stream that goes on; `None` for one that begins.
pub(crate) fn resume_token(text: &str) -> Result<Option<ResumeToken>, ApiError> {
    let mut fields = Fields::default();
    let token = fields.resume_token(text);
    if fields.0.is_empty() { Ok(token) } else { Err(fields.into()) }
}
