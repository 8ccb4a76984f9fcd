"""A Celery application whose worker serves a Rust client.

usage: celery -A worker worker …, with BROKER, BACKEND and QUEUE_TYPE in the environment
"""

import os
import time

from celery import Celery, Task
from celery.exceptions import Ignore

app = Celery("worker", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.task_default_queue_type = os.environ["QUEUE_TYPE"]
app.conf.worker_detect_quorum_queues = os.environ["QUEUE_TYPE"] == "quorum"


class PaymentDeclined(Exception):
    pass


@app.task(name="p.add")
def add(x, y):
    return x + y


@app.task(name="p.describe", bind=True)
def describe(self: Task, **kwargs):
    request = self.request
    return {
        "kwargs": kwargs,
        "id": request.id,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "retries": request.retries,
        "argsrepr": request.argsrepr,
        "kwargsrepr": request.kwargsrepr,
        "origin": request.origin,
        "priority": request.delivery_info["priority"],
        "routing_key": request.delivery_info["routing_key"],
        "timelimit": request.timelimit,
        "tenant": getattr(request, "tenant", None),
        "lang": request.lang,
    }


@app.task(name="p.fail")
def fail():
    raise PaymentDeclined("insufficient funds", 402)


@app.task(name="p.retry", bind=True, max_retries=3)
def retry(self: Task, times):
    if self.request.retries < times:
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    return self.request.retries


@app.task(name="p.ignore")
def ignore():
    raise Ignore()


@app.task(name="p.progress", bind=True)
def progress(self: Task):
    self.update_state(state="PROGRESS", meta={"done": 1})
    time.sleep(0.5)
    return "done"
