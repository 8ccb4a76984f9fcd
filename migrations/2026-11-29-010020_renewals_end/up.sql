-- Every renewal comes to an end: what failed is counted, a card that must not be charged again is remembered, and nothing is
-- charged long before its time.

alter table account
    -- Charges of the owed renewal that came to nothing through our own fault. There are only so many.
    add column faults integer not null default 0 check (faults >= 0),
    -- The bank forbids the kept card to be charged again without the customer.
    add column card_barred boolean not null default false,
    -- When the attempt was begun that brought the kept card: what an earlier attempt brings is older than it.
    add column card_since timestamptz;

-- Periods since the last paid one that passed unpaid and are not charged for.
alter table bill add column skipped_periods integer not null default 0 check (skipped_periods >= 0);

-- The charges of an account by its kept card, to count them: also those of bills that are void.
create index bill_history on bill (account_id, created_at);

-- When half of the paid period is over. No renewal is charged before that, however early it may be.
create function renewable_from(account account) returns timestamptz
    language sql stable
    return account.paid_until - (account.paid_until - (
        (account.anchor_at at time zone account.time_zone)
            + (account.period_no - 1 - account.anchor_period_no) * account.paid_period
    ) at time zone account.time_zone) / 2;

-- A mask is that of the kept card. Without a card there is none.
update account set card = null where payment_token is null and card is not null;
create function account_card_goes_with_its_token() returns trigger
    language plpgsql as $$
begin
    new.card := null;
    new.card_barred := false;
    return new;
end
$$;
create trigger account_card_goes_with_its_token before insert or update on account
    for each row when (new.payment_token is null and (new.card is not null or new.card_barred))
    execute function account_card_goes_with_its_token();

-- Support may move `expiration_dt` by hand. The paid time moves with it, and later periods count from there. Who is moved
-- forward owes nothing any more: a try of the refused renewal that was planned is not made, and the next charge falls due
-- with the new date. (The program itself always writes both.)
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
