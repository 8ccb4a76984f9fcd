"""What Celery's own programs and workers run in these tests."""
import os
import time

from celery import Celery

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ.get("RESULT_BACKEND"))
app.conf.worker_send_task_events = True


@app.task(name="t.add")
def add(x, y):
    return x + y


@app.task(name="t.sleep")
def sleep(seconds):
    time.sleep(seconds)


@app.task(name="t.fail")
def fail():
    raise ValueError("boom")


@app.task(name="t.limited", rate_limit="10/m")
def limited():
    return 1
