create or replace function account_expiration_moves() returns trigger
    language plpgsql as $$
begin
    if new.expiration_dt <> old.expiration_dt and new.paid_until = old.paid_until then
        new.paid_until := (new.expiration_dt + (old.paid_until at time zone new.time_zone)::time)
            at time zone new.time_zone;
        new.access_until := new.paid_until + (old.access_until - old.paid_until);
        new.anchor_at := new.paid_until;
        new.anchor_period_no := new.period_no;
        if new.status = 'Active' and new.next_charge_at is not null then
            new.next_charge_at := new.expiration_dt::timestamp at time zone new.time_zone;
        end if;
    end if;
    return new;
end
$$;
drop trigger account_card_goes_with_its_token on account;
drop function account_card_goes_with_its_token();
drop function renewable_from(account);
drop index bill_history;
alter table bill drop column skipped_periods;
alter table account drop column card_since, drop column card_barred, drop column faults;
