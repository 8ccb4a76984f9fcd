"""When Celery's crontab runs next: reads lines `fields|after`, prints a time for each, or `error`.

The fields are those of cron, the times are in UTC.
"""

import sys
from datetime import datetime, timezone

from celery import Celery
from celery.schedules import crontab

app = Celery()
app.conf.timezone = "UTC"

for line in open(sys.argv[1]):
    fields, after = line.strip().split("|")
    after = datetime.fromisoformat(after)
    try:
        schedule = crontab.from_string(fields)
        schedule.app = app
        schedule.nowfun = lambda: after
        last, delta, _ = schedule.remaining_delta(after, tz=timezone.utc)
        print((last + delta).isoformat())
    except Exception as error:
        print("error", repr(error), file=sys.stderr)
        print("error")
