alter table circuit
    -- Requests since `counted_since`, when one of them failed, and how many of them have failed.
    add column calls integer not null default 0 check (calls >= 0),
    add column failed integer not null default 0 check (failed between 0 and calls),
    add column counted_since timestamptz,
    add check ((calls = 0) = (counted_since is null));
