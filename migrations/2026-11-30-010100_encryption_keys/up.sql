-- The keys of ENCRYPTION_KEYS that have been in use: one that is still needed, by a row or by a backup, must not be taken away.
create table encryption_key (
    id text primary key check (id ~ '^[A-Za-z0-9-]{1,32}$'),
    first_seen_at timestamptz not null,
    -- A constant that the key has sealed: another key under the same name does not open it. Null: no process has had it yet.
    proof text,
    -- Since when no row is sealed with it; backups from before then are.
    unused_since timestamptz,
    -- Until when such backups are kept.
    needed_until timestamptz,
    constraint encryption_key_is_needed_by_backups check ((unused_since is null) = (needed_until is null))
);
insert into encryption_key (id, first_seen_at)
select key, now() from (
    select split_part(payment_token, '.', 1) as key from account where payment_token is not null
    union select split_part(card_cryptogram_packet, '.', 1) from bill where card_cryptogram_packet is not null
    union select split_part(pa_res, '.', 1) from bill where pa_res is not null
) as sealed where key ~ '^[A-Za-z0-9-]{1,32}$';

-- Verifications keep a cryptogram as other bills do; those are found by what is owed.
create index bill_verified_now on bill (id) where kind = 'verification' and status = 'In work';
