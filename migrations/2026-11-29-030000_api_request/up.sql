-- What callers of the API have asked for under a key of their own: asked again with the same key it is not done again.
create table api_request (
    client text not null check (length(client) between 1 and 64),
    idempotency_key text not null check (length(idempotency_key) between 1 and 255),
    verb text not null,
    account_id uuid not null references account on delete restrict,
    created_at timestamptz not null,
    primary key (client, idempotency_key)
);
-- The payments and bills of an account, the newest first: ids grow with time.
create index bill_of_account on bill (account_id, id);
