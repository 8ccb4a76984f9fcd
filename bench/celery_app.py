"""Celery's part of the benchmark: the tasks of its worker, and `python celery_app.py versions | send COUNT`."""

import json
import os
import sys
import time

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_BACKEND"])
app.conf.update(
    task_default_queue=os.environ.get("BENCH_QUEUE", "bench"),
    task_default_queue_type=os.environ.get("BENCH_QUEUE_TYPE", "classic"),
    task_acks_late=True,
    worker_prefetch_multiplier=100,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.late")
def late(at):
    """How many microseconds after it was sent it began."""
    return int(time.time() * 1e6) - at


def send(count):
    with app.producer_pool.acquire(block=True) as producer:
        add.apply_async((0, 1), producer=producer)  # connects and declares the queue
        began = time.perf_counter()
        for i in range(count - 1):
            add.apply_async((i, 1), producer=producer)
        return {"Sent": {"count": count - 1, "micros": int((time.perf_counter() - began) * 1e6)}}


def versions():
    import celery
    import kombu
    import redis

    with app.connection() as connection:
        connection.ensure_connection()
        broker = connection.connection.server_properties
    server = redis.Redis.from_url(os.environ["BENCH_BACKEND"]).info("server")
    return {
        "RabbitMQ": broker["version"],
        "Redis": server["redis_version"],
        "Python": sys.version.split()[0],
        "Celery": celery.__version__,
        "kombu": kombu.__version__,
    }


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    print(json.dumps(send(int(arguments[0])) if verb == "send" else versions()))
