"""Celery's own client asks a worker everything it can ask, and tells it everything it can tell.

    ask.py <node>

Prints an object of what was answered, by command.
"""
import json
import sys

from proj import app

node = sys.argv[1]
inspect = app.control.inspect(destination=[node], timeout=20)
control = {"destination": [node], "reply": True, "timeout": 20}
tell = app.control

answers = {
    "ping": inspect.ping(),
    "clock": inspect.clock(),
    "active": inspect.active(),
    "active_safe": inspect.active(safe=True),
    "scheduled": inspect.scheduled(),
    "reserved": inspect.reserved(),
    "stats": inspect.stats(),
    "revoked": inspect.revoked(),
    "registered": inspect.registered(),
    "registered_items": inspect.registered("rate_limit", "max_retries"),
    "active_queues": inspect.active_queues(),
    "query_task": inspect.query_task("running", "unknown"),
    "conf": inspect.conf(),
    "conf_defaults": inspect.conf(with_defaults=True),
    "report": inspect.report(),
    "hello": inspect.hello("tester@x", ["dddddddd-0000-4000-8000-000000000002"]),
    "memsample": inspect.memsample(),
    "rate_limit": tell.rate_limit("t.add", "100/m", **control),
    "time_limit": tell.time_limit("t.add", soft=60, hard=120, **control),
    "pool_grow": tell.pool_grow(1, **control),
    "pool_shrink": tell.pool_shrink(1, **control),
    "autoscale": tell.autoscale(6, 2, **control),
    "add_consumer": tell.add_consumer("newq", **control),
    "cancel_consumer": tell.cancel_consumer("newq", **control),
    "revoke": tell.revoke("cccccccc-0000-4000-8000-000000000001", **control),
    "terminate": tell.terminate("cccccccc-0000-4000-8000-000000000001", **control),
    "revoke_by_stamped_headers": tell.revoke_by_stamped_headers({"tenant": ["t-1"]}, **control),
    "enable_events": tell.enable_events(**control),
    "disable_events": tell.disable_events(**control),
    "heartbeat": tell.heartbeat(**control),
    "unknown": tell.broadcast("no_such_command", **control),
    "glob": tell.broadcast("ping", pattern=node[0] + "@*", matcher="glob", reply=True, timeout=20, limit=1),
    "pcre": tell.broadcast("ping", pattern="[a-z]@.*", matcher="pcre", reply=True, timeout=20, limit=1),
}


def flat(answer):
    """The value of the one node that answered."""
    if isinstance(answer, list):
        assert len(answer) == 1, answer
        answer = answer[0]
    assert list(answer) == [node], answer
    return answer[node]


print(json.dumps({command: flat(answer) for command, answer in answers.items()}))
