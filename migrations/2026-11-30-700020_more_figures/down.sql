drop index gateway_call_by_time;
delete from daily_figure where figure in ('call', 'cohort');
alter table daily_figure drop constraint daily_figure_figure_check;
alter table daily_figure add constraint daily_figure_figure_check check (figure in (
    'taken', 'given_back', 'earned', 'deferred', 'vat', 'paying', 'trial', 'gained', 'attempt', 'refused', 'recovered'
));
