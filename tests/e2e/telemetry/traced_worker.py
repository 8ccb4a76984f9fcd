"""A worker with OpenTelemetry's instrumentation of Celery, which prints its spans."""

import json
import os

from celery import Celery
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider


class Print(SpanProcessor):
    def on_end(self, span):
        told = {
            "name": span.name,
            "trace_id": f"{span.context.trace_id:032x}",
            "parent": span.parent and f"{span.parent.span_id:016x}",
        }
        print(f"SPAN {json.dumps(told)}", flush=True)


provider = TracerProvider()
provider.add_span_processor(Print())
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()
app = Celery("traced", broker=os.environ["BROKER_URL"])


@app.task(name="t.traced", ignore_result=True)
def traced():
    return None
