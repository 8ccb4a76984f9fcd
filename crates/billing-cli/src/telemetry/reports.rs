//! What Sentry is told: errors, each with what it happened in, and that the timetable is kept.

use std::collections::BTreeMap;

use sentry::integrations::tracing::ErrorLayer;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};
use tracing_subscriber::{Layer, Registry};

use super::scrub::{TAGS, kind_of};
use super::{check_ins, panics};

/// Reports errors. What they happened in – the request and its id, the task, its payment, the trace – goes along as tags, by
/// which reports can be searched. Reports of one kind are one issue, whatever ids they have.
#[derive(Default)]
pub(super) struct Reports {
    errors: ErrorLayer,
}

/// Fields of a span or an event.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

/// What [`Reports`] has to see: our spans for their fields, and errors.
pub(super) fn concerns(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO || *metadata.level() == Level::ERROR
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Reports {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        if !super::is_ours(span.metadata()) {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(fields) = extensions.get_mut::<Fields>() else { return };
        let had_ended = fields.get("outcome").is_some();
        values.record(fields);
        if let (false, Some(monitor), Some(task_id), Some(outcome)) =
            (had_ended, fields.get("monitor"), fields.get("task_id"), fields.get("outcome"))
        {
            check_ins::end(monitor, task_id, outcome);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let mut said = Fields::default();
        event.record(&mut said);
        if panics::was_told(said.get("tags.exc_type"), said.0.values().map(String::as_str)) {
            return;
        }
        let mut tags: BTreeMap<&'static str, String> = BTreeMap::new();
        for (name, value) in &said.0 {
            let name: &'static str = name.strip_prefix("tags.").unwrap_or(name);
            if TAGS.contains(&name) {
                tags.insert(name, value.clone());
            }
        }
        for span in ctx.event_scope(event).into_iter().flatten() {
            add_tags_of(&span, &mut tags);
        }
        let fingerprint = fingerprint(event.metadata().target(), &said, &tags);
        let fingerprint: Vec<&str> = fingerprint.iter().map(String::as_str).collect();
        let about = |scope: &mut sentry::Scope| {
            tags.iter().for_each(|(name, value)| scope.set_tag(name, value));
            scope.set_fingerprint(Some(&fingerprint));
        };
        sentry::with_scope(about, || self.errors.on_event(event, ctx));
    }
}

/// What this thread is at work on at this moment, as its spans say.
pub(super) fn tags_here() -> BTreeMap<&'static str, String> {
    let mut tags = BTreeMap::new();
    tracing::dispatcher::get_default(|dispatch| {
        let Some(registry) = dispatch.downcast_ref::<Registry>() else { return };
        let current = dispatch.current_span();
        let Some(innermost) = current.id().and_then(|id| registry.span(id)) else { return };
        for span in innermost.scope() {
            add_tags_of(&span, &mut tags);
        }
    });
    tags
}

/// Of those that are known already the innermost span knows best.
fn add_tags_of<S: for<'a> LookupSpan<'a>>(span: &SpanRef<'_, S>, tags: &mut BTreeMap<&'static str, String>) {
    if let Some(Fields(of_span)) = span.extensions().get::<Fields>() {
        for (name, value) in of_span.iter().filter(|(name, _)| TAGS.contains(name)) {
            tags.entry(*name).or_insert_with(|| value.clone());
        }
    }
}

/// What kind of failure it is: a task's by its name and the kind of error, any other by where it is told and in which words.
fn fingerprint(target: &str, said: &Fields, tags: &BTreeMap<&str, String>) -> Vec<String> {
    if let (Some(task), Some(kind)) = (said.get("tags.task"), said.get("tags.exc_type")) {
        return vec!["task".to_owned(), task.to_owned(), kind.to_owned()];
    }
    let whose = tags.get("task").or_else(|| tags.get("method")).cloned().unwrap_or_default();
    vec![target.to_owned(), whose, kind_of(said.get("message").unwrap_or_default())]
}

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
