-- With which account at the company's provider of sign-in (OpenID Connect) somebody of the staff comes in: `iss` and `sub` of
-- its ID tokens. An address of e-mail may be given to another person; these two are not.
create table staff_identity (
    issuer text not null check (length(issuer) between 1 and 500),
    subject text not null check (length(subject) between 1 and 255),
    staff_id uuid not null references staff,
    linked_at timestamptz not null,
    primary key (issuer, subject),
    constraint staff_has_one_identity_of_an_issuer unique (staff_id, issuer)
);

-- What came back from the provider, as SHA-256: each sign-in there lets in once. Kept for as long as it could come back.
create table staff_sign_in_state (
    state bytea primary key check (length(state) = 32),
    used_at timestamptz not null
);
create index staff_sign_in_state_used on staff_sign_in_state (used_at);

-- Who comes in with a password even where everybody has to come by the provider: for when that is down.
alter table staff add column password_always boolean not null default false;

-- By which provider a session began, and whether a second factor was shown there.
alter table staff_session
    add column issuer text,
    add column factor_by_provider boolean not null default false;
