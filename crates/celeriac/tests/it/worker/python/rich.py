"""Values that JSON does not have: a worker that says what it got, and a client that gets back what it sent.

usage: celery -A rich worker …, or rich.py, with BROKER and BACKEND in the environment
"""

import datetime
import decimal
import json
import os
import uuid

from celery import Celery

app = Celery("rich", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
TIMEOUT = 60


@app.task(name="r.double")
def double(total, **_):
    return total * 2


@app.task(name="r.types")
def types(*args, **kwargs):
    return {"args": repr(args), **{name: repr(value) for name, value in kwargs.items()}}


def outcome(**kwargs):
    try:
        return app.send_task("r.echo", kwargs=kwargs, queue="rust").get(timeout=TIMEOUT)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


RICH = {
    "when": datetime.datetime(2026, 11, 29, 17, 43, 38, 123456, tzinfo=datetime.timezone.utc),
    "local": datetime.datetime(2026, 11, 29, 17, 43, tzinfo=datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))),
    "naive": datetime.datetime(2026, 11, 29, 17, 43, 38, 500000),
    "day": datetime.date(2026, 11, 29),
    "at": datetime.time(17, 43, 38, 1),
    "id": uuid.UUID(int=1),
    "price": decimal.Decimal("12.50"),
    "prices": [decimal.Decimal("0.10"), decimal.Decimal("-3")],
    "maybe": decimal.Decimal("1E+3"),
    "nothing": None,
    "by_name": {"a": decimal.Decimal("2.0")},
    "raw": b"\x00\xff",
    "text": b"abc",
    "anything": {"deep": [uuid.UUID(int=2), decimal.Decimal("7.70")]},
}

if __name__ == "__main__":
    echoed = outcome(**RICH)
    different = {name: repr(value) for name, value in RICH.items() if not isinstance(echoed, dict) or echoed.get(name) != value}
    progress = app.send_task("r.progress", queue="rust")
    progress.get(timeout=TIMEOUT)
    print(json.dumps({
        "echoed": repr(echoed),
        "different": different,
        "types": type(echoed["price"]).__name__ if isinstance(echoed, dict) else None,
        "naive": outcome(**{**RICH, "when": RICH["naive"]}),
        "aware": outcome(**{**RICH, "naive": RICH["when"]}),
        "date": outcome(**{**RICH, "when": RICH["day"]}),
        "text": outcome(**{**RICH, "when": RICH["naive"].isoformat()}),
        "progress": repr(app.AsyncResult("progress-of-rich").info),
    }))
