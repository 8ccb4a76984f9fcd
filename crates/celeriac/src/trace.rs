//! Distributed traces: what a message says of the one that it belongs to, and the hook of whatever keeps traces.
//!
//! Messages carry a trace as [W3C Trace Context](https://www.w3.org/TR/trace-context/) in the headers `traceparent` and
//! `tracestate`, where OpenTelemetry's instrumentation of Celery (`opentelemetry-instrumentation-celery`) writes and reads
//! them, so Python's producers and workers go on with our traces and we with theirs.
//!
//! This crate makes spans of [`tracing`] and knows no OpenTelemetry. With a [`Propagator`]
//! ([`AppBuilder::propagator`](crate::AppBuilder::propagator)) what is sent gets a span and takes its place in the trace along,
//! and a worker makes the span of each task a child of what its message says. Without one headers go from a task to what it
//! sends as they came.
//!
//! | span | level | fields | what |
//! |---|---|---|---|
//! | `send` | trace | `task`, `task_id`, `queue` | until the broker has confirmed it; of `celeriac::trace` |
//! | `task` | info | `task`, `task_id`, `queue`, `retries`, `trace_id`, `outcome` | the body of a task and what is told of its end |
//!
//! A retry is a child of the run that it repeats, and linked to it; nothing else is linked.

use std::fmt;

use crate::protocol::{Headers, Value};

/// The headers of [`TraceContext`].
pub const TRACEPARENT: &str = "traceparent";
/// See [`TRACEPARENT`].
pub const TRACESTATE: &str = "tracestate";

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// A longer `tracestate` is left out, in bytes (Trace Context, 3.3.1.5: at least so many are to be passed on).
const MAX_STATE: usize = 512;

/// A place in a trace: a span, somewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-<trace id>-<span id>-<flags>`
    traceparent: String,
    tracestate: Option<String>,
}

/// What keeps traces, seen from here. It is asked for each message: do not block.
///
/// For OpenTelemetry with `tracing-opentelemetry` each method is one of its `OpenTelemetrySpanExt`: `context`, `set_parent`
/// and `add_link`.
pub trait Propagator: fmt::Debug + Send + Sync + 'static {
    /// Where a span stands; `None` if it is in no trace.
    fn context(&self, span: &tracing::Span) -> Option<TraceContext>;

    /// Makes a span, which nobody has entered yet, the child of one elsewhere.
    fn continue_from(&self, span: &tracing::Span, parent: &TraceContext);

    /// Links a span, which nobody has entered yet, to one elsewhere.
    fn link(&self, span: &tracing::Span, to: &TraceContext);
}

impl TraceContext {
    /// Reads both headers. `None`: it is no `traceparent` that can be understood (Trace Context, 3.2.2). A `tracestate` that
    /// is too long or no text is left out.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let bytes = traceparent.as_bytes();
        // Later versions may have more behind what is known.
        let is_later = bytes.len() > LENGTH && bytes[LENGTH] == b'-' && !traceparent.starts_with("00");
        if !(bytes.len() == LENGTH || is_later) || !traceparent.is_ascii() {
            return None;
        }
        let known = &traceparent[..LENGTH];
        let mut parts = known.split('-');
        let mut part = |length: usize| parts.next().filter(|part| part.len() == length && part.bytes().all(is_hex));
        let (version, trace_id, span_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
        if version == "ff" || is_zero(trace_id) || is_zero(span_id) {
            return None;
        }
        let is_text = |state: &&str| {
            (1..=MAX_STATE).contains(&state.len()) && state.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        };
        Some(Self {
            traceparent: format!("00-{trace_id}-{span_id}-{flags}"),
            tracestate: tracestate.filter(is_text).map(str::to_owned),
        })
    }

    /// What the headers of a message say.
    #[must_use]
    pub fn of(headers: &Headers) -> Option<Self> {
        let text = |name| headers.get(name).and_then(Value::as_str);
        Self::parse(text(TRACEPARENT)?, text(TRACESTATE))
    }

    /// Writes it into the headers of a message, in place of what they said.
    pub fn write(&self, headers: &mut Headers) {
        headers.insert(TRACEPARENT, self.traceparent.as_str());
        match &self.tracestate {
            Some(state) => headers.insert(TRACESTATE, state.as_str()),
            None => headers.retain(|name| name != TRACESTATE),
        }
    }

    /// As the header says it, of version 00.
    #[must_use]
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// What vendors have added.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    /// Whoever began it keeps it, and asks those who come after to keep it too.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.traceparent[53..], 16).is_ok_and(|flags| flags & 1 == 1)
    }

    /// The trace, in 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.traceparent[3..35]
    }

    /// The span, in 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> &str {
        &self.traceparent[36..52]
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TraceContext").field(&self.traceparent).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_place_is_read_as_the_recommendation_says() {
        let context = TraceContext::parse(PARENT, Some("vendor=1")).unwrap();
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id(), "b7ad6b7169203331");
        assert_eq!((context.traceparent(), context.tracestate()), (PARENT, Some("vendor=1")));
        // The first bit counts, whatever the others say (Python's SDK sets the second).
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
            let said = PARENT.replace("-01", &format!("-{flags}"));
            assert_eq!(TraceContext::parse(&said, None).unwrap().is_sampled(), is_sampled, "{flags}");
        }
        // A later version, with more behind it, is read as what is known of it.
        let later = PARENT.replacen("00-", "cc-", 1);
        for known in [later.clone(), format!("{later}-what-comes")] {
            assert_eq!(TraceContext::parse(&known, None).unwrap().traceparent(), PARENT, "{known}");
        }
    }

    #[test]
    fn what_is_no_place_is_left_out() {
        for wrong in [
            "",
            "00",
            &format!("{PARENT}-more"),
            &format!("{PARENT} "),
            &PARENT.replacen("00-", "ff-", 1),
            &PARENT.to_uppercase(),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-1",
            "0é-af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(wrong, None), None, "{wrong}");
        }
        for state in ["", "line\nbreak", &"x".repeat(MAX_STATE + 1)] {
            assert_eq!(TraceContext::parse(PARENT, Some(state)).unwrap().tracestate(), None, "{state}");
        }
    }

    #[test]
    fn a_place_takes_that_of_another_in_the_headers() {
        let mut headers = Headers::default();
        TraceContext::parse(PARENT, Some("vendor=1")).unwrap().write(&mut headers);
        assert_eq!(TraceContext::of(&headers).unwrap().tracestate(), Some("vendor=1"));
        let next = TraceContext::parse(&PARENT.replace("3331-", "3332-"), None).unwrap();
        next.write(&mut headers);
        assert_eq!((TraceContext::of(&headers), headers.len()), (Some(next), 1));
    }
}
