//! Workflows: the messages of Celery's own, and what follows when a task has ended.

mod compose;
mod ended;
mod golden;
mod hostile;
mod simulation;
