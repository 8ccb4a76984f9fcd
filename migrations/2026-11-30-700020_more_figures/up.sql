-- call: requests to the gateway. Labels: how it ended, a colon, and the number of milliseconds it took at most. In no currency;
-- the amount is how long they took together, in milliseconds.
-- cohort: of the last day of a month, subscribers who pay. Labels: the month in which they first paid.
alter table daily_figure drop constraint daily_figure_figure_check;
alter table daily_figure add constraint daily_figure_figure_check check (figure in (
    'taken', 'given_back', 'earned', 'deferred', 'vat', 'paying', 'trial', 'gained', 'attempt', 'refused', 'recovered',
    'call', 'cohort'
));
-- A day of them.
create index gateway_call_by_time on gateway_call (started_at);
