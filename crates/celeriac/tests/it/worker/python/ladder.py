"""Declares the ladder of native delayed delivery as Celery's workers do.

usage: ladder.py BROKER QUEUE_TYPE
"""

import sys

from kombu import Connection
from kombu.transport.native_delayed_delivery import declare_native_delayed_delivery_exchanges_and_queues

broker, queue_type = sys.argv[1:]
with Connection(broker) as connection:
    declare_native_delayed_delivery_exchanges_and_queues(connection, queue_type)
print("declared")
