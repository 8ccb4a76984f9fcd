//! What Sentry is told of an error, beside the error itself.

use std::collections::BTreeMap;

use sentry::integrations::tracing::ErrorLayer;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Reports errors. What they happened in – the request and its id, the task and its id – goes along as tags, by which
/// reports can be searched.
#[derive(Default)]
pub(super) struct Reports {
    errors: ErrorLayer,
}

/// The fields of a span.
#[derive(Default)]
struct Tags(BTreeMap<&'static str, String>);

/// What [`Reports`] has to see: spans for their fields, and errors.
pub(super) fn concerns(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() || *metadata.level() == Level::ERROR
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Reports {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        if !super::is_ours(span.metadata()) {
            return;
        }
        let mut tags = Tags::default();
        attributes.record(&mut tags);
        span.extensions_mut().insert(tags);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        if let Some(tags) = span.extensions_mut().get_mut::<Tags>() {
            values.record(tags);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let mut tags = BTreeMap::new();
        for span in ctx.event_scope(event).into_iter().flatten() {
            if let Some(Tags(of_span)) = span.extensions().get::<Tags>() {
                // The innermost knows best.
                for (name, value) in of_span {
                    tags.entry(*name).or_insert_with(|| value.clone());
                }
            }
        }
        let tag = |scope: &mut sentry::Scope| tags.iter().for_each(|(name, value)| scope.set_tag(name, value));
        sentry::with_scope(tag, || self.errors.on_event(event, ctx));
    }
}

impl Visit for Tags {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
