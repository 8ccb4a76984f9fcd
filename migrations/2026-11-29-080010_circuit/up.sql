-- Whether the gateway is left alone: one row for each circuit, shared by all workers (`breaker.rs`).
create table circuit (
    name text primary key check (name in ('gateway', 'kept_cards')),
    state text not null default 'closed' check (state in ('closed', 'open', 'half_open')),
    -- Since when it is closed, or not.
    since timestamptz not null default now(),
    -- In a row.
    failures integer not null default 0 check (failures >= 0),
    -- Probes in vain, in a row.
    trips integer not null default 0 check (trips >= 0),
    -- Open: when the pause is over. Half open: until when the probe may be on its way.
    until timestamptz,
    -- Why it was opened, for operators.
    reason text check (length(reason) <= 500),
    check ((state = 'closed') = (until is null))
);
insert into circuit (name) values ('gateway'), ('kept_cards');
