"""What Python's worker runs in these tests."""
import os
import time

from celery import Celery

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.task_default_queue = "python"
app.conf.result_extended = True


@app.task(name="python.add")
def add(x, y):
    return x + y


@app.task(name="python.sleep")
def sleep(seconds):
    time.sleep(seconds)


@app.task(name="python.fail")
def fail():
    raise ValueError("boom")


@app.task(name="python.again", bind=True)
def again(self):
    """Fails once."""
    if not self.request.retries:
        raise self.retry(exc=ValueError("not yet"), countdown=1)
    return "done"
