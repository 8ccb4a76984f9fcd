-- Queues that somebody has paused here, and the workers that were told to take no more from them, as JSON.

CREATE TABLE celeriac_dashboard.paused (
    queue text PRIMARY KEY,
    nodes text NOT NULL,
    at double precision NOT NULL
);
