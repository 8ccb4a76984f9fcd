-- What is moved by hand is told to the log of events, also when it is done by SQL. It fires before
-- `account_expiration_moves` (by its name), which makes the rest follow: the same condition tells a hand from the program.
create function account_expiration_by_hand() returns trigger
    language plpgsql as $$
begin
    insert into event (at, kind, account_id, source, detail, is_public)
    values (now(), 'expiration_moved', new.id, 'staff',
        jsonb_build_object('from', old.expiration_dt, 'to', new.expiration_dt), false);
    return new;
end
$$;
create trigger account_expiration_by_hand before update of expiration_dt on account
    for each row when (new.expiration_dt <> old.expiration_dt and new.paid_until = old.paid_until)
    execute function account_expiration_by_hand();
