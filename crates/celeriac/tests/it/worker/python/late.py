"""A Celery application with a quorum queue behind a topic exchange: run as a program, it sends a late task to our worker.

usage: late.py BROKER BACKEND, or celery -A late worker with BROKER and BACKEND in the environment
"""

import json
import os
import sys
import time
from datetime import datetime, timedelta, timezone

from celery import Celery
from kombu import Exchange, Queue

arguments = sys.argv[1:3] if __name__ == "__main__" else (os.environ["BROKER"], os.environ["BACKEND"])
app = Celery("late", broker=arguments[0], backend=arguments[1])
late = Queue("late", Exchange("tasks", type="topic"), routing_key="late", queue_arguments={"x-queue-type": "quorum"})
app.conf.update(
    task_queues=[late],
    task_default_queue="late",
    task_default_exchange="tasks",
    task_default_exchange_type="topic",
    task_default_routing_key="late",
    broker_connection_retry_on_startup=True,
)


@app.task(name="late.time")
def now():
    return time.time()


def waits_in():
    """The queue of the ladder with a message in it."""
    with app.connection() as connection:
        channel = connection.channel()
        for _ in range(200):
            for level in range(28):
                if channel.queue_declare(f"celery_delayed_{level}", passive=True).message_count:
                    return f"celery_delayed_{level}"


if __name__ == "__main__":
    eta = datetime.now(timezone.utc) + timedelta(seconds=3.5)
    result = app.send_task("t.add", (2, 3), eta=eta)
    waited_in = waits_in()
    value = result.get(timeout=30)
    print(json.dumps({"value": value, "is_early": result.date_done < eta, "waited_in": waited_in}))
