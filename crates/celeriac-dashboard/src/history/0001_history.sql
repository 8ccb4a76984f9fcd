-- What the dashboard remembers. Times are microseconds (bigint) or seconds (double precision) since 1970.

CREATE TABLE celeriac_dashboard.task (
    -- When it was heard of first: its place in the list, and its partition.
    heard bigint NOT NULL,
    id text NOT NULL,
    name text,
    state text NOT NULL,
    worker text,
    queue text,
    root_id text,
    -- How long it ran, in seconds.
    ran double precision,
    -- In lower case, for the search.
    arguments text NOT NULL,
    -- Everything that was heard, as JSON.
    story text NOT NULL,
    PRIMARY KEY (heard, id)
) PARTITION BY RANGE (heard);

CREATE INDEX task_id ON celeriac_dashboard.task (id);
CREATE INDEX task_name ON celeriac_dashboard.task (name text_pattern_ops, heard DESC, id DESC);
CREATE INDEX task_state ON celeriac_dashboard.task (state, heard DESC, id DESC);
CREATE INDEX task_root ON celeriac_dashboard.task (root_id) WHERE root_id IS NOT NULL;

CREATE TABLE celeriac_dashboard.minute (
    number bigint PRIMARY KEY,
    counts text NOT NULL
);

CREATE TABLE celeriac_dashboard.worker (
    name text PRIMARY KEY,
    told text NOT NULL,
    written double precision NOT NULL
);

-- From when to when somebody listened: between them nothing is known.
CREATE TABLE celeriac_dashboard.listening (
    began double precision PRIMARY KEY,
    until double precision NOT NULL,
    -- Tasks that could not be written fast enough.
    lost bigint NOT NULL
);

-- What operators did. A form is one action.
CREATE TABLE celeriac_dashboard.action (
    form text PRIMARY KEY,
    at double precision NOT NULL,
    who text NOT NULL,
    what text NOT NULL,
    why text NOT NULL,
    answers text
);

CREATE INDEX action_at ON celeriac_dashboard.action (at DESC);
