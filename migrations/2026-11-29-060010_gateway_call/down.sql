drop function drop_gateway_call_partitions(timestamptz);
drop function make_gateway_call_partitions(timestamptz, integer);
-- Makes the partitions of the months from `first` on, `months` of them; those that exist stay. Rows that came before
-- their partition move into it.
create or replace function make_event_partitions(first timestamptz, months integer) returns integer
    language plpgsql as $$
declare
    month timestamptz := date_trunc('month', first at time zone 'UTC') at time zone 'UTC';
    until timestamptz;
    partition text;
    made integer := 0;
begin
    for n in 1..months loop
        until := ((month at time zone 'UTC') + interval '1 month') at time zone 'UTC';
        partition := 'event_' || to_char(month at time zone 'UTC', 'YYYY_MM');
        if to_regclass(partition) is null then
            execute format('create table %I (like event including defaults including constraints)', partition);
            if exists (select from event_default where at >= month and at < until) then
                alter table event_default disable trigger user;
                execute format(
                    'with moved as (delete from event_default where at >= %L and at < %L returning *)
                     insert into %I select * from moved', month, until, partition);
                alter table event_default enable trigger user;
            end if;
            execute format('alter table event attach partition %I for values from (%L) to (%L)', partition, month, until);
            made := made + 1;
        end if;
        month := until;
    end loop;
    return made;
end
$$;

-- Drops the months that ended before `before`. Readers who still stand there are told.
create or replace function drop_event_partitions(before timestamptz) returns integer
    language plpgsql as $$
declare
    partition record;
    last bigint;
    dropped integer := 0;
begin
    for partition in
        select c.relname as name, to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' as ends
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'event'::regclass and c.relname ~ '^event_\d{4}_\d{2}$'
        order by 1
    loop
        continue when partition.ends at time zone 'UTC' > before;
        execute format('select max(position) from %I', partition.name) into last;
        update event_log set dropped_position = greatest(dropped_position, last) where last is not null;
        execute format('drop table %I', partition.name);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$$;
drop function month_partitions_before(text, timestamptz);
drop function make_month_partitions(text, text, timestamptz, integer);
drop table gateway_call;
