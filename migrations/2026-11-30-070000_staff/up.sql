-- Who works with the admin panel. The password is an argon2id hash; one that somebody else has set (`is_one_time`) only lets
-- its owner choose another.
create table staff (
    id uuid primary key,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    name text not null check (name = lower(name) and length(name) between 1 and 60),
    role text not null check (role in ('support', 'accountant', 'chief_accountant', 'operator', 'auditor', 'administrator')),
    password text not null,
    is_one_time boolean not null,
    disabled_at timestamptz,
    language text check (language in ('en', 'ru'))
);
create unique index staff_name on staff (name);

-- Found by the SHA-256 of what is in the cookie: who reads the table cannot sign in by it.
create table staff_session (
    id bytea primary key check (length(id) = 32),
    staff_id uuid not null references staff,
    created_at timestamptz not null,
    last_seen_at timestamptz not null,
    address text not null,
    agent text not null
);
create index staff_session_of on staff_session (staff_id);
create index staff_session_seen on staff_session (last_seen_at);

-- Sign-ins that failed, by the SHA-256 of a name or of an address, whether or not there is such a name.
create table staff_sign_in (
    subject bytea primary key check (length(subject) = 32),
    failures integer not null check (failures > 0),
    last_at timestamptz not null,
    until timestamptz not null
);
create index staff_sign_in_last on staff_sign_in (last_at);

-- What the staff did and looked at. Kept for ever as it was written.
create table audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    staff_id uuid references staff,
    name text not null,
    role text not null,
    address text not null,
    action text not null,
    target_kind text,
    target text,
    reason text,
    before jsonb,
    after jsonb
);
create index audit_log_of_staff on audit_log (staff_id, id);
create index audit_log_of_target on audit_log (target, id) where target is not null;

create function audit_log_is_append_only() returns trigger
language plpgsql as $$
begin
    raise exception 'audit_log is append-only' using errcode = 'integrity_constraint_violation';
end
$$;
create trigger audit_log_is_never_changed before update or delete on audit_log
for each row execute function audit_log_is_append_only();
create trigger audit_log_is_never_emptied before truncate on audit_log
for each statement execute function audit_log_is_append_only();
