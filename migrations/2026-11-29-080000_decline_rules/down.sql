drop table decline_change;
drop function decline_change_is_append_only();
drop table decline_rule;
drop table decline_schedule;
