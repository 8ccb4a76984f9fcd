-- The second factor of somebody of the staff: a secret that an app on their phone shares (TOTP, RFC 6238). It counts once they
-- have typed a code of it. Each code is taken once: `last_step` is the half minute of the last one.
create table staff_factor (
    staff_id uuid primary key references staff,
    created_at timestamptz not null,
    sealed text not null,
    confirmed_at timestamptz,
    last_step bigint not null default 0
);

-- What lets them in without that app, each once; kept as SHA-256.
create table staff_recovery_code (
    digest bytea primary key check (length(digest) = 32),
    staff_id uuid not null references staff,
    used_at timestamptz
);
create index staff_recovery_code_of on staff_recovery_code (staff_id);

-- A link by which somebody chooses their first password, once; kept as SHA-256.
create table staff_invitation (
    staff_id uuid primary key references staff,
    digest bytea not null check (length(digest) = 32),
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create unique index staff_invitation_digest on staff_invitation (digest);

-- Whether a session still has to show the second factor, and when its owner typed the password again.
alter table staff_session
    add column waits_for_code boolean not null default false,
    add column proved_at timestamptz;
