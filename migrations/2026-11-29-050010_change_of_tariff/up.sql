-- What a tariff costs from when on. Before the first of its rows it costs `tariff.amount`, the price it was made with.
create table tariff_price (
    tariff_id uuid not null references tariff on delete restrict,
    effective_from timestamptz not null,
    amount bigint not null check (amount between 1 and 100000000),
    currency char(3) not null check (currency ~ '^[A-Z]{3}$'),
    created_at timestamptz not null,
    primary key (tariff_id, effective_from)
);
create index tariff_price_coming on tariff_price (effective_from);

alter table account
    -- The tariff that the customer has chosen from the next period on; null: the present one stays.
    add column pending_tariff_id uuid references tariff on delete restrict,
    -- What the customer was told already: the renewal of this period,
    add column told_period_no integer not null default 0,
    -- the prices that come into force up to this time,
    add column told_price_from timestamptz not null default 'epoch',
    -- that the kept card expires: 1 a month before, 2 a week before.
    add column told_card integer not null default 0 check (told_card between 0 and 2);

-- Another tariff has other prices, another card another day.
create function account_is_told_anew() returns trigger
    language plpgsql as $$
begin
    if coalesce(new.pending_tariff_id, new.tariff_id) is distinct from coalesce(old.pending_tariff_id, old.tariff_id) then
        new.told_price_from := 'epoch';
    end if;
    if new.card is distinct from old.card then
        new.told_card := 0;
    end if;
    return new;
end
$$;
create trigger account_is_told_anew before update on account
    for each row when (
        coalesce(new.pending_tariff_id, new.tariff_id) is distinct from coalesce(old.pending_tariff_id, old.tariff_id)
        or new.card is distinct from old.card
    ) execute function account_is_told_anew();

-- The day after the last on which a card may be charged: the first of the month behind the `MM/YY` of its mask.
create function card_expires(card jsonb) returns date
    language sql immutable
    return case when card ->> 'expires' ~ '^(0[1-9]|1[0-2])/[0-9]{2}$' then (make_date(
        2000 + right(card ->> 'expires', 2)::integer, left(card ->> 'expires', 2)::integer, 1
    ) + interval '1 month')::date end;

-- What the timetable looks for; who was told is not in the index any more.
create index account_renewal_to_announce on account (next_charge_at)
    where told_period_no <= period_no and status = 'Active' and payment_token is not null;
create index account_price_to_announce on account (coalesce(pending_tariff_id, tariff_id), told_price_from)
    where status in ('Active', 'Overdue') and not cancel_at_period_end;
create index account_card_to_announce on account (card_expires(card))
    where payment_token is not null and told_card < 2 and status in ('Active', 'Overdue') and not cancel_at_period_end;

-- A change of tariff that is paid at once has a bill of its own. (`verification` belongs to cards that are only verified.)
alter table bill drop constraint bill_kind_check;
alter table bill add constraint bill_kind_check check (kind in ('primary', 'renewal', 'change', 'verification'));
