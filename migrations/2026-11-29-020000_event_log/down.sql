drop table event;
drop table event_log;
drop function event_is_append_only();
drop function make_event_partitions(timestamptz, integer);
drop function drop_event_partitions(timestamptz);
