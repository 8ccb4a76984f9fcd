//! A collector that takes OTLP by gRPC.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

pub(super) struct Collector {
    url: String,
    taken: Taken,
}

/// What was taken: requests, and the credentials of the last.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<(Vec<ExportTraceServiceRequest>, Option<String>)>>);

/// A span, its ids in hexadecimal digits.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) trace_id: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) error: Option<String>,
    pub(super) links: Vec<(String, String)>,
    attributes: Vec<(String, String)>,
}

impl Collector {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let taken = Taken::default();
        let service = TraceServiceServer::new(taken.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
        Self { url, taken }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// All spans by now.
    pub(super) fn spans(&self) -> Vec<Kept> {
        let taken = self.taken.0.lock().expect("no test holds it");
        let mut spans = Vec::new();
        for resource in taken.0.iter().flat_map(|request| &request.resource_spans) {
            let of_resource = resource.resource.as_ref().map(|resource| attributes(&resource.attributes));
            let named = of_resource.into_iter().flatten().find(|(name, _)| name == "service.name");
            let service = named.map(|(_, name)| name).unwrap_or_default();
            let of_scopes = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.extend(of_scopes.map(|span| kept(&service, span)));
        }
        spans
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.spans().into_iter().map(|span| span.name).collect()
    }

    /// Everything that was taken, in words.
    pub(super) fn told(&self) -> String {
        format!("{:?}", self.taken.0.lock().expect("no test holds it").0)
    }

    pub(super) fn authorization(&self) -> Option<String> {
        self.taken.0.lock().expect("no test holds it").1.clone()
    }
}

impl Kept {
    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(has, _)| has == name)
    }

    pub(super) fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("no {name} in {self:?}"), |(_, value)| value)
    }
}

fn kept(service: &str, span: &Span) -> Kept {
    Kept {
        service: service.to_owned(),
        name: span.name.clone(),
        trace_id: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        error: span.status.as_ref().filter(|status| status.code == 2).map(|status| status.message.clone()),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        attributes: attributes(&span.attributes),
    }
}

fn attributes(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(&attribute.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tonic::async_trait]
impl TraceService for Taken {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let authorization = authorization.map(str::to_owned);
        let mut taken = self.0.lock().expect("no test holds it");
        taken.1 = authorization;
        taken.0.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
