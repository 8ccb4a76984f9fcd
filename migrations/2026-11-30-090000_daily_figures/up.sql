-- What reports add up: one row for each day, figure, label, tariff and currency, so that a year opens at once. Each is made
-- from the rows once, when the day is over and its revenue is entered.
create table daily_figure (
    id bigint generated always as identity primary key,
    day date not null,
    -- taken, given_back, earned, deferred, vat: of the ledger. paying, trial: subscribers at the end of the day.
    -- gained: what changed since the day before. attempt: ends of attempts. refused, recovered: renewals.
    figure text not null check (figure in (
        'taken', 'given_back', 'earned', 'deferred', 'vat', 'paying', 'trial', 'gained', 'attempt', 'refused', 'recovered'
    )),
    -- Of what kind, as far as the figure has kinds: an outcome, a reason code, new or lapsed.
    label text not null default '' check (length(label) <= 64),
    tariff_id uuid,
    currency char(3) not null check (currency ~ '^[A-Z]{3}$'),
    -- How many. Of the ledger: entries.
    count bigint not null,
    -- Minor units.
    amount bigint not null,
    unique nulls not distinct (figure, day, label, tariff_id, currency)
);

-- The days that are rolled up, one after the other.
create table report_day (
    day date primary key,
    rolled_up_at timestamptz not null
);

-- Attempts that ended on a day.
create index payment_finished on payment (finished_at) where finished_at is not null;

-- Trials that ran on it: how long, as was promised. To the day, for who counts them.
alter table trial add column ends_at timestamptz;
update trial t set ends_at = t.began_at + make_interval(days => b.trial_days) from bill b where b.id = t.bill_id;
alter table trial alter column ends_at set not null;
create index trial_running on trial (ends_at);

-- Whether what was bought is a trial.
create function is_trial(of_account uuid, of_payment uuid) returns boolean
    language sql stable parallel safe as $$
    select exists (
        select from trial t join payment p on p.bill_id = t.bill_id where t.account_id = of_account and p.id = of_payment
    )
$$;

-- Who has paid for a day, with what their subscription is worth in a month, without VAT: a month of 28 or of 31 days is
-- worth the same. Each from what was known on that day, so that the same comes of it whenever it is asked. A trial is not
-- paid for, whatever it costs.
create function paying_on(day date)
    returns table (account_id uuid, tariff_id uuid, currency char(3), monthly bigint)
    language sql stable parallel safe as $$
    select distinct on (d.account_id) d.account_id, d.tariff_id, d.currency, (case
        when d.ends_on - d.starts_on < 28 then d.amount * 365 / (12 * (d.ends_on - d.starts_on))
        else d.amount / round((d.ends_on - d.starts_on) * 12 / 365.0)
    end)::bigint
    from deferral d
    where d.last_on >= day and d.starts_on <= day and d.known_on <= day and not is_trial(d.account_id, d.payment_id)
    -- What was bought later replaces what ran.
    order by d.account_id, d.starts_on desc, d.id desc
$$;
