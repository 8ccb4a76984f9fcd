drop table secret;
drop table trial;
alter table account drop column trial_period_no;
alter table bill
    drop constraint bill_begins_a_trial_at_the_beginning,
    drop constraint bill_refuses_only_a_trial,
    drop column trial_refused,
    drop column trial_days;
alter table tariff
    drop constraint tariff_trial_is_whole,
    drop column trial_currency,
    drop column trial_amount,
    drop column trial_days;
