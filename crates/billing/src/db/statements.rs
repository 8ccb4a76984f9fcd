//! Each statement as a span, of whatever asked for it: what the process does for itself is no trace, and costs nothing here.

use diesel::connection::{Instrumentation, InstrumentationEvent};
use tracing::Span;
use tracing::field::{Empty, display};

/// What a connection runs at present. It runs one statement at a time.
#[derive(Default)]
pub(super) struct Statements {
    running: Option<Span>,
}

impl Instrumentation for Statements {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            // Its text is not asked for here: it would come with the values.
            InstrumentationEvent::StartQuery { .. } => self.running = span(),
            InstrumentationEvent::FinishQuery { query, error, .. } => {
                let Some(span) = self.running.take() else { return };
                // As it was prepared, with `$1` for what is bound.
                span.record("statement", display(query));
                if error.is_some() {
                    span.record("outcome", "failed");
                }
            }
            _ => {}
        }
    }
}

fn span() -> Option<Span> {
    if Span::current().is_none() {
        return None;
    }
    let span = tracing::trace_span!("database", statement = Empty, outcome = Empty);
    (!span.is_disabled()).then_some(span)
}
