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
        first_charge := new.expiration_dt::timestamp at time zone new.time_zone;
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
update account set next_charge_at = greatest(
    expiration_dt::timestamp at time zone time_zone,
    paid_until - least(interval '24 hours', paid_until - renewable_from(account))
)
where status = 'Active' and faults = 0 and next_charge_at is not null;
drop function renewal_at(account);
drop function window_place(uuid);
