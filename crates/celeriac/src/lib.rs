//! A distributed task queue that is Celery on the wire.
