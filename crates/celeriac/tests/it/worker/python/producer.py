"""A Celery client: calls the tasks of a Rust worker and prints what it sees, as JSON.

usage: producer.py BROKER BACKEND QUEUE-TYPE
"""

import datetime
import decimal
import json
import sys
import uuid

from celery import Celery, group
from celery.exceptions import TaskRevokedError

broker, backend, queue_type = sys.argv[1:]
app = Celery("client", broker=broker, backend=backend)
app.conf.task_default_queue_type = queue_type
# Native delayed delivery is for topic exchanges; the default exchange is direct.
app.conf.broker_native_delayed_delivery_queue_type = "classic"

TIMEOUT = 30


def send(name, *args, **kwargs):
    options = kwargs.pop("options", {})
    return app.send_task(name, args=args, kwargs=kwargs, **options)


def outcome(result):
    """The value, or the exception as Python sees it."""
    try:
        return {"value": result.get(timeout=TIMEOUT)}
    except Exception as error:
        kind = type(error)
        return {"raised": f"{kind.__module__}.{kind.__name__}", "args": list(error.args), "state": result.state}


rich = [
    datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc),
    uuid.UUID(int=1),
    decimal.Decimal("12.3400"),
    b"\x00\xff",
    2**70,
    "снег ☃",
    None,
]
seen = {
    "positional": outcome(send("t.add", 2, 3)),
    "keywords": outcome(send("t.add", x=2, y=5)),
    "mixed": outcome(send("t.add", 2, y=6)),
    "countdown": outcome(send("t.add", 1, 1, options={"countdown": 1})),
    "compressed": outcome(send("t.add", 10, 1, options={"compression": "gzip"})),
    "protocol": outcome(send("t.request", options={"priority": 3, "headers": {"tenant": "cinema"}})),
    "rich_is_equal": send("t.echo_raw", rich).get(timeout=TIMEOUT) == rich,
    "nothing": outcome(send("t.nothing")),
    "failure": outcome(send("t.fail_unacknowledged")),
    "panic": outcome(send("t.panic")),
    "wrong_arguments": outcome(send("t.add", 1)),
    "unknown": outcome(send("t.unheard_of")),
    "expired": outcome(send("t.add", 1, 1, options={"expires": -5})),
    "retried": outcome(send("t.autoretry")),
    "soft_limit": outcome(send("t.wait", options={"soft_time_limit": 1})),
    "hard_limit": outcome(send("t.listen", "hang", options={"soft_time_limit": 1, "time_limit": 2})),
    "group": group(app.signature("t.add", (i, i)) for i in range(5)).apply_async().get(timeout=TIMEOUT),
}
parent = send("t.parent")
child = parent.get(timeout=TIMEOUT)
seen["children"] = [result.id for result in parent.children] == [child]
seen["child"] = app.AsyncResult(child).get(timeout=TIMEOUT)
forgotten = send("t.add", 1, 1)
forgotten.get(timeout=TIMEOUT)
forgotten.forget()
seen["forgotten"] = forgotten.state
print(json.dumps(seen))
