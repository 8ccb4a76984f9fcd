-- A renewal is charged within a window before the paid time ends, at a place of the account's own, and no longer a setting
-- before the day on which it ends.

-- Where in its window an account is charged, of 2^32 places.
create function window_place(id uuid) returns bigint
    language sql immutable strict parallel safe
    return ('x' || encode(substring(sha256(uuid_send(id)) for 4), 'hex'))::bit(32)::bigint;

-- When the renewal behind the paid period is charged: the window is a day, or half of a short period.
create function renewal_at(account account) returns timestamptz
    language sql stable
    return (
        select account.paid_until - span
            + ((floor(extract(epoch from span))::bigint * window_place(account.id)) >> 32) * interval '1 second'
        from (select least(interval '24 hours', account.paid_until - renewable_from(account)) as span) as bounds
    );

-- Support may move `expiration_dt` by hand: the next charge falls due within the window before the new end.
create or replace function account_expiration_moves() returns trigger
    language plpgsql as $$
declare
    -- How long access goes on behind the paid time while it is not known whether the renewal was paid.
    doubt constant interval := interval '48 hours';
    is_running constant boolean := new.status in ('Active', 'Overdue');
    first_charge timestamptz;
begin
    if new.expiration_dt <> old.expiration_dt and new.paid_until = old.paid_until then
        new.paid_until := (new.expiration_dt + (old.paid_until at time zone new.time_zone)::time)
            at time zone new.time_zone;
        new.anchor_at := new.paid_until;
        new.anchor_period_no := new.period_no;
        new.access_until := new.paid_until + (old.access_until - old.paid_until);
        first_charge := renewal_at(new);
        if new.expiration_dt > old.expiration_dt and is_running then
            new.status := 'Active';
            new.declines := 0;
            new.faults := 0;
            new.first_declined_at := null;
            new.access_until := new.paid_until + case when new.cancel_at_period_end then interval '0' else doubt end;
            new.next_charge_at := case when not new.cancel_at_period_end then first_charge end;
        elsif new.status = 'Active' and new.next_charge_at is not null then
            new.next_charge_at := first_charge;
        end if;
    end if;
    return new;
end
$$;

-- Those who have paid. A try of a renewal that came to nothing stays where it was planned.
update account set next_charge_at = renewal_at(account)
where status = 'Active' and faults = 0 and next_charge_at is not null;
