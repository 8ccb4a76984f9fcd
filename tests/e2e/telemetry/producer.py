"""Sends a task with the trace of a span, as a program with OpenTelemetry's instrumentation of Celery does."""

import json
import sys

from celery import Celery
from kombu import Queue
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

spans = []


class Keep(SpanProcessor):
    def on_start(self, span, parent_context=None):
        spans.append(span)


broker, payment_id = sys.argv[1:]
provider = TracerProvider()
provider.add_span_processor(Keep())
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()
app = Celery("shop", broker=broker)
app.conf.task_queues = [Queue("payments", routing_key="payments")]
with trace.get_tracer("shop").start_as_current_span("checkout"):
    # The last of its attempts.
    sent = app.send_task(
        "billing.charge_payment", kwargs={"payment_id": payment_id}, queue="payments", retries=10, ignore_result=True
    )
context = spans[1].get_span_context()
assert spans[1].name == "apply_async/billing.charge_payment", spans[1].name
print(
    json.dumps(
        {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}", "task_id": sent.id}
    )
)
