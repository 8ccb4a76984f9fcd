-- How often in a row a payment was tried in vain. Only payments in trouble have a row: how long their next try waits
-- follows from it. (When that is, `payment.look_again_at` says.)
create table tries (
    payment_id uuid primary key references payment on delete cascade,
    -- Requests that the gateway did not process.
    unprocessed integer not null default 0 check (unprocessed >= 0),
    -- Looks at the gateway that failed, or whose worker died.
    looks integer not null default 0 check (looks >= 0)
);

-- A page that was given up is looked after for a while: its money may come all the same.
create index payment_to_look_after on payment (look_again_at) where state = 'abandoned' and look_again_at is not null;
