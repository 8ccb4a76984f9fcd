-- What the staff set: the id is that of the form, so that a form does its work once. Each row has what was set before, and is
-- taken back by another row at most.
create table setting_change (
    id uuid primary key,
    at timestamptz not null,
    staff_id uuid not null references staff,
    name text not null,
    kind text not null check (kind in ('price', 'trial', 'stages', 'sale', 'schedule', 'rule', 'limit')),
    subject text not null check (length(subject) between 1 and 100),
    before jsonb not null,
    after jsonb not null,
    digest text not null,
    reason text not null check (length(reason) between 3 and 500),
    -- The change that this one takes back. (A table that refers to itself cannot be written down in schema.rs.)
    takes_back uuid unique
);
create index setting_change_by_time on setting_change (at desc, id desc);
