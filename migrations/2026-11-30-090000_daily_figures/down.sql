drop function paying_on(date);
drop function is_trial(uuid, uuid);
alter table trial drop column ends_at;
drop index payment_finished;
drop table report_day;
drop table daily_figure;
