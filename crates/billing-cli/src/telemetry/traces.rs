//! Traces by OpenTelemetry's protocol (OTLP): where they go, how many are kept, and what takes messages into them.

mod spans;
mod statements;
#[cfg(test)]
mod tests;

use std::str::FromStr as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use celeriac::trace::{Propagator, TraceContext};
use clap::{Args, ValueEnum};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracerProvider, SpanProcessor};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use self::spans::Translated;

/// What keeps traces, once that has begun.
static PROPAGATOR: OnceLock<Arc<dyn Propagator>> = OnceLock::new();

/// How long the end of the process waits for the last spans to be taken.
const LAST_WORDS: Duration = Duration::from_secs(3);

#[derive(Args, Clone, Debug)]
pub(super) struct TracesConfig {
    /// Where traces go: a collector that takes OTLP by gRPC, as `http://collector:4317`, with TLS as `https://…`. None are
    /// kept when this is not set. OTEL_EXPORTER_OTLP_HEADERS goes along, as `authorization=Bearer …`
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", global = true, value_parser = collector, value_name = "URL")]
    otel_exporter_otlp_endpoint: Option<Url>,

    /// What this process is called in traces
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "billing", global = true, value_name = "NAME")]
    otel_service_name: String,

    /// Which traces are kept
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER",
        default_value = "parentbased_always_on",
        global = true,
        value_name = "SAMPLER"
    )]
    otel_traces_sampler: Kept,

    /// The share that `traceidratio` and `parentbased_traceidratio` keep, from 0 to 1
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER_ARG",
        default_value_t = 1.0,
        value_parser = share,
        global = true,
        value_name = "SHARE"
    )]
    otel_traces_sampler_arg: f64,
}

/// OpenTelemetry's names of samplers (SDK environment variables, general configuration). The ones that ask the parent keep
/// what whoever called us keeps.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Kept {
    #[value(name = "always_on")]
    AlwaysOn,
    #[value(name = "always_off")]
    AlwaysOff,
    #[value(name = "traceidratio")]
    Share,
    #[value(name = "parentbased_always_on")]
    ByParentOrOn,
    #[value(name = "parentbased_always_off")]
    ByParentOrOff,
    #[value(name = "parentbased_traceidratio")]
    ByParentOrShare,
}

fn collector(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("expected the address of a collector, as http://collector:4317".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

/// What takes tasks into traces; `None` if none are kept.
pub(crate) fn propagator() -> Option<Arc<dyn Propagator>> {
    PROPAGATOR.get().cloned()
}

/// Traces that are being kept. Dropping it sends what is still waiting.
pub(super) struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // Whoever does not take them now does not get them: the process is at its end.
        let _ = self.0.shutdown_with_timeout(LAST_WORDS);
    }
}

impl TracesConfig {
    /// Begins to keep traces, if there is a collector. Needs the runtime, which speaks to it.
    pub(super) fn start(&self) -> anyhow::Result<Option<Traces>> {
        let Some(endpoint) = &self.otel_exporter_otlp_endpoint else { return Ok(None) };
        let exporter =
            opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint.as_str()).build();
        let exporter = exporter.map_err(|error| anyhow::anyhow!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"))?;
        let processor = BatchSpanProcessor::builder(Translated(exporter)).build();
        let _ = PROPAGATOR.set(Arc::new(OpenTelemetry));
        Ok(Some(Traces(self.provider(processor))))
    }

    fn provider(&self, processor: impl SpanProcessor + 'static) -> SdkTracerProvider {
        let resource = Resource::builder()
            .with_service_name(self.otel_service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        SdkTracerProvider::builder()
            .with_sampler(self.sampler())
            .with_resource(resource.build())
            .with_span_processor(processor)
            .build()
    }

    fn sampler(&self) -> Sampler {
        let share = Sampler::TraceIdRatioBased(self.otel_traces_sampler_arg);
        let by_parent = |or: Sampler| Sampler::ParentBased(Box::new(or));
        match self.otel_traces_sampler {
            Kept::AlwaysOn => Sampler::AlwaysOn,
            Kept::AlwaysOff => Sampler::AlwaysOff,
            Kept::Share => share,
            Kept::ByParentOrOn => by_parent(Sampler::AlwaysOn),
            Kept::ByParentOrOff => by_parent(Sampler::AlwaysOff),
            Kept::ByParentOrShare => by_parent(share),
        }
    }
}

impl Traces {
    /// Makes our spans those of traces, whatever the log says of them. Events stay in the log.
    pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("billing"))
            .with_context_activation(false)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && super::is_ours(metadata)))
    }
}

/// Takes messages into the traces of the layer.
#[derive(Debug)]
struct OpenTelemetry;

impl Propagator for OpenTelemetry {
    fn context(&self, span: &Span) -> Option<TraceContext> {
        let context = span.context();
        let span = context.span();
        let place = span.span_context();
        if !place.is_valid() {
            return None;
        }
        let flags = if place.is_sampled() { "01" } else { "00" };
        let traceparent = format!("00-{}-{}-{flags}", place.trace_id(), place.span_id());
        TraceContext::parse(&traceparent, Some(&place.trace_state().header()))
    }

    fn continue_from(&self, span: &Span, parent: &TraceContext) {
        // Refused only where no span is kept, or one that has begun.
        let _ = span.set_parent(Context::new().with_remote_span_context(elsewhere(parent)));
    }

    fn link(&self, span: &Span, to: &TraceContext) {
        span.add_link(elsewhere(to));
    }
}

/// A span of another process.
fn elsewhere(place: &TraceContext) -> SpanContext {
    let flags = if place.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(
        TraceId::from_hex(place.trace_id()).unwrap_or(TraceId::INVALID),
        SpanId::from_hex(place.span_id()).unwrap_or(SpanId::INVALID),
        flags,
        true,
        place.tracestate().and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default(),
    )
}
