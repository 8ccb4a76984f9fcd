-- The class of the error that a task has failed or is tried again with. Tasks of before are not found by it.

ALTER TABLE celeriac_dashboard.task ADD COLUMN error text;

CREATE INDEX task_error ON celeriac_dashboard.task (error, heard DESC, id DESC) WHERE error IS NOT NULL;
