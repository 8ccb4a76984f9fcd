-- The role that a subscriber of this tariff has at the auth service; null: its name.
alter table tariff add column role text check (length(role) between 1 and 200);

-- Where a reader of the event log that is part of this program stands. Whoever reads locks its row: one at a time.
create table event_reader (
    name text primary key,
    epoch uuid not null,
    position bigint not null check (position >= 0)
);
-- From the beginning: who subscribed before there was a push is told too.
insert into event_reader select 'role_push', epoch, 0 from event_log;

-- The role that each account is to have at the auth service. A role that changes again before it was told takes the place
-- of the one before. No foreign key, as in `event`.
create table role_push (
    account_id uuid primary key,
    role text not null,
    -- The position of the event that it follows from.
    version bigint not null check (version > 0),
    -- The last version that the auth service has taken.
    acknowledged bigint not null default 0,
    -- No call is made before this.
    due_at timestamptz not null,
    -- A call is under way until then; `due_at` is not before it.
    leased_until timestamptz check (leased_until <= due_at),
    -- Calls in a row that came to nothing, this one included.
    tries integer not null default 0,
    last_error text check (length(last_error) <= 1000),
    constraint role_push_acknowledges_what_was_told check (acknowledged <= version)
);
create index role_push_due on role_push (due_at) where version > acknowledged;
