"""A Celery application with one task that can end in every way. As a worker it is what ours is compared with; run as a
program it is a client that calls workers of both kinds and prints what it sees of each, as JSON.

usage: ends.py QUEUE QUEUE, or celery -A ends worker …, with BROKER and BACKEND in the environment
"""

import datetime
import decimal
import json
import os
import sys
import time
import uuid

from celery import Celery, Task, chain
from celery.exceptions import Ignore, Reject

app = Celery("ends", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(result_extended=True, worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)


class Declined(Exception):
    pass


@app.task(name="t.end", bind=True, max_retries=2, default_retry_delay=0)
def end(self: Task, how, value=None):
    if how == "value":
        return value
    if how == "builtin":
        raise ValueError("boom", 5)
    if how == "key":
        raise KeyError("k")
    if how == "silent":
        raise RuntimeError()
    if how == "custom":
        raise Declined("insufficient funds", 402)
    if how == "retry":
        if self.request.retries < 2:
            raise self.retry(exc=ValueError("not yet"), countdown=0)
        return self.request.retries
    if how == "exhausted":
        raise self.retry(exc=ValueError("never"), countdown=0)
    if how == "ignore":
        raise Ignore()
    if how == "reject":
        raise Reject("no thanks", requeue=False)
    if how == "progress":
        self.update_state(state="PROGRESS", meta={"done": 1})
        return "done"
    if how == "child":
        return self.app.send_task("t.end", ("value", 1), queue=self.request.delivery_info["routing_key"]).id
    time.sleep(60)


app.tasks["t.end"].track_started = True

TIMEOUT = 60
RICH = [
    datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc),
    datetime.date(2024, 2, 29),
    uuid.UUID(int=1),
    decimal.Decimal("12.3400"),
    b"\x00\xff",
    2**70,
    float("inf"),
    "снег ☃",
    None,
]
# How the task ends, with what it is sent.
ENDS = {
    "nothing": (("value",), {}),
    "rich": (("value", RICH), {}),
    "keyword": (("value",), {"kwargs": {"value": -0.5}}),
    "gzip": (("value", "x" * 100), {"compression": "gzip"}),
    "zlib": (("value", "x" * 100), {"compression": "zlib"}),
    "countdown": (("value", 1), {"countdown": 0.5}),
    "eta": (("value", 2), {"eta": datetime.datetime.now(datetime.timezone.utc)}),
    "priority": (("value", 3), {"priority": 5}),
    "builtin": (("builtin",), {}),
    "key": (("key",), {}),
    "silent": (("silent",), {}),
    "custom": (("custom",), {}),
    "too many arguments": (("value", 1, 2), {}),
    "no arguments": ((), {}),
    "retried": (("retry",), {}),
    "exhausted": (("exhausted",), {}),
    "rejected": (("reject",), {}),
    "soft limit": (("sleep",), {"soft_time_limit": 1}),
    "hard limit": (("sleep",), {"time_limit": 1}),
    "expired": (
        ("value", 1),
        {"expires": datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5)},
    ),
    "child": (("child",), {}),
}


def send(queue, args=(), kwargs=None, **options):
    return app.send_task("t.end", args=args, kwargs=kwargs, queue=queue, **options)


def seen(result):
    """All that a client sees of a result that there is."""
    try:
        value = {"value": repr(result.get(timeout=TIMEOUT))}
    except Exception as error:
        value = {
            "raised": f"{type(error).__module__}.{type(error).__name__}",
            "exception": repr(error.args),
            "str": str(error),
        }
    trace = result.traceback
    return {
        **value,
        "state": result.state,
        "result": repr(result.result),
        # Ours have none of Python's; where Python has none, there is none either.
        "has_traceback": bool(trace) and value.get("raised") is not None,
        "children": len(result.children or []),
        "is_done": result.date_done is not None,
        "name": result.name,
        "args": repr(result.args),
        "kwargs": repr(result.kwargs),
        "retries": result.retries,
        "queue": bool(result.queue),
        "ready": result.ready(),
        "successful": result.successful(),
        "failed": result.failed(),
    }


def states(queue):
    """What is told of a task from its beginning to its end, to who listens before it is sent."""
    task_id = str(uuid.uuid4())
    told = []
    with app.backend.client.pubsub() as listener:
        listener.subscribe(app.backend.get_key_for_task(task_id))
        assert listener.get_message(timeout=TIMEOUT)["type"] == "subscribe"
        result = send(queue, ("progress",), task_id=task_id)
        while not told or told[-1][0] != "SUCCESS":
            message = listener.get_message(timeout=TIMEOUT)
            meta = app.backend.decode_result(message["data"])
            told.append([meta["status"], meta["result"] if meta["status"] == "PROGRESS" else None])
    return told, result


def look(queue):
    """Sends everything at once, and then looks at each."""
    told, progress = states(queue)
    running = send(queue, ("sleep",))
    sent = {name: send(queue, args, **options) for name, (args, options) in ENDS.items()}
    unknown = app.send_task("t.unheard_of", queue=queue)
    ignored = send(queue, ("value", 1), ignore_result=True)
    silent = send(queue, ("ignore",))
    malformed(queue)
    of_protocol_1 = old(queue)
    first, second = (app.signature("t.end", ("value", 7), queue=queue, immutable=True) for _ in range(2))
    chained = chain(first, second).apply_async()
    views = {"met": told, "progress": seen(progress)}
    views |= {name: seen(result) for name, result in sent.items()}
    child = sent["child"].children[0]
    views["child"] |= {"value": sent["child"].get() == child.id, "result": None, "of_child": child.get(timeout=TIMEOUT)}
    views["chained"] = [seen(chained), seen(chained.parent), chained.parent.parent]
    views["unknown"] = seen(unknown)
    views["protocol 1"] = seen(of_protocol_1)
    assert running.state == "STARTED", running.state
    running.revoke(terminate=True, signal="SIGKILL")
    views["terminated"] = seen(running)
    later = send(queue, ("value", 1), countdown=3600)
    later.revoke()
    revoked = seen(later)
    # Who marks it last, the command or the message, knows more or less about it.
    views["revoked"] = {name: revoked[name] for name in ("raised", "exception", "str", "state", "ready", "failed")}
    views["ignored"] = [ignored.get(timeout=1), ignored.state, app.AsyncResult(ignored.id).state]
    views["ignore"] = app.AsyncResult(silent.id).state
    return views


def malformed(queue):
    """What is no task is taken off the queue, and nothing else suffers."""
    with app.producer_pool.acquire() as producer:
        for body, headers in ("{", {"task": "t.end", "id": "bad", "lang": "py"}), ("[[], {}]", {}):
            producer.publish(
                body, routing_key=queue, headers=headers, content_type="application/json", content_encoding="utf-8"
            )


def old(queue):
    """A message of protocol 1, as Celery 3 sent them."""
    app.conf.task_protocol = 1
    try:
        forget_protocol()
        assert app.amqp.create_task_message == app.amqp.task_protocols[1]
        return send(queue, ("value", "old"))
    finally:
        app.conf.task_protocol = 2
        forget_protocol()


def forget_protocol():
    """It is looked up once."""
    for cached in ("create_task_message", "_create_task_sender", "send_task_message"):
        app.amqp.__dict__.pop(cached, None)


if __name__ == "__main__":
    # Its classes are known under the name of the module.
    sys.modules["ends"] = sys.modules["__main__"]
    Declined.__module__ = "ends"
    print(json.dumps([look(queue) for queue in sys.argv[1:]]))
