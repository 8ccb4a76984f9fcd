"""A worker of Celery's with the tasks of the worker that `celery.rs` starts."""

import datetime
import decimal
import os
import time
import uuid

from celery import Celery
from celery.exceptions import Reject

app = Celery("twin", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
# `celery list bindings` asks there.
app.conf.broker_transport_options = {"manager_port": int(os.environ["MANAGEMENT_PORT"])}
app.conf.task_send_sent_event = True


class Declined(Exception):
    pass


@app.task(name="t.add", acks_late=True)
def add(x, y):
    return x + y


@app.task(name="t.wait", acks_late=True)
def wait():
    time.sleep(3600)


@app.task(name="t.limited", rate_limit="10/m")
def limited():
    return None


@app.task(name="t.fail", bind=True)
def fail(self, *arguments):
    raise Declined(*arguments)


@app.task(name="t.retry", bind=True)
def retry(self):
    if not self.request.retries:
        raise self.retry(exc=Declined("not yet"), countdown=0)
    return "done"


@app.task(name="t.reject", acks_late=True)
def reject():
    raise Reject("no thanks", requeue=False)


@app.task(name="t.rich")
def rich(kind):
    return {
        "datetime": datetime.datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=datetime.timezone.utc),
        "date": datetime.date(2026, 2, 3),
        "decimal": decimal.Decimal("12.3400"),
        "uuid": uuid.UUID(int=1),
        "bytes": b"one \xe2\x98\x83",
        "big": 2**70,
        "infinity": float("inf"),
        "text": "it's снег ☃",
        "nothing": None,
        "flag": False,
        "nested": [1, 2.0, None, True, {"k": "it's", "when": datetime.datetime(2026, 1, 1), "id": uuid.UUID(int=2)}],
    }[kind]
