alter table api_request drop column payment_id;
-- What older programs do not know of is history: it stays, in words that they know.
update payment set state = 'voided' where state = 'verified';
alter table payment drop constraint payment_verdict_follows_state;
alter table payment add constraint payment_verdict_follows_state check (
    is_success is not distinct from case
        when state in ('succeeded', 'succeeded_duplicate') then true
        when state in ('declined', 'rejected', 'abandoned', 'not_executed', 'voided') then false
    end
    and (finished_at is null) = (is_success is null)
);
alter table payment drop constraint payment_state_check;
alter table payment add constraint payment_state_check check (
    state in ('created', 'sending', 'awaiting_3ds', 'posting_3ds', 'unknown', 'authorized', 'succeeded',
              'succeeded_duplicate', 'declined', 'rejected', 'abandoned', 'not_executed', 'voided')
);
alter table bill drop constraint bill_verification_is_never_paid;
alter table bill drop constraint bill_pays_for_a_period;
update bill set kind = 'primary', period_no = 1, paid_period = interval '1 day', status = 'Void',
    card_cryptogram_packet = null, pa_res = null where kind = 'verification';
drop index bill_one_open_per_account;
create unique index bill_one_open_per_account on bill (account_id) where status in ('Not paid', 'In work');
alter table bill add constraint bill_period_no_check check (period_no > 0);
alter table bill alter column paid_period set not null;
alter table bill drop constraint bill_kind_check;
alter table bill add constraint bill_kind_check check (kind in ('primary', 'renewal'));
