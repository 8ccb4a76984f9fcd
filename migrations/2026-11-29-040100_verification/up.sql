-- A card is verified before it takes the place of another: a little money is held on it and let go. That is an attempt like
-- any other, on a bill of its own kind, which nobody owes and which pays for no period.
alter table bill drop constraint bill_kind_check;
alter table bill add constraint bill_kind_check check (kind in ('primary', 'renewal', 'change', 'verification'));
alter table bill alter column paid_period drop not null;
alter table bill drop constraint bill_period_no_check;
alter table bill add constraint bill_pays_for_a_period check (
    case when kind = 'verification' then paid_period is null and period_no = 0
    else paid_period is not null and period_no > 0 end
);
alter table bill add constraint bill_verification_is_never_paid check (kind <> 'verification' or status in ('In work', 'Void'));

-- One card at a time is verified (by `bill_one_per_period`: they all have the period 0); and what is owed is another matter.
drop index bill_one_open_per_account;
create unique index bill_one_open_per_account on bill (account_id)
    where status in ('Not paid', 'In work') and kind <> 'verification';

alter table payment drop constraint payment_state_check;
alter table payment add constraint payment_state_check check (
    state in ('created', 'sending', 'awaiting_3ds', 'posting_3ds', 'unknown', 'authorized', 'succeeded',
              'succeeded_duplicate', 'declined', 'rejected', 'abandoned', 'not_executed', 'voided', 'verified')
);
alter table payment drop constraint payment_verdict_follows_state;
alter table payment add constraint payment_verdict_follows_state check (
    is_success is not distinct from case
        when state in ('succeeded', 'succeeded_duplicate') then true
        when state in ('declined', 'rejected', 'abandoned', 'not_executed', 'voided', 'verified') then false
    end
    and (finished_at is null) = (is_success is null)
);

-- The payment that a verb has begun: asked again with the same key, it is what is told.
alter table api_request add column payment_id uuid references payment on delete restrict;
