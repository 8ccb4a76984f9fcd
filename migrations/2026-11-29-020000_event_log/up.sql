-- What happened, and what others must know: one log. A row is written in the transaction of the change that it tells of.
-- Nothing of the four tables is ever deleted, so ids need no foreign keys here, which would be checked for every row.
create table event (
    id bigint generated always as identity,
    at timestamptz not null,
    kind text not null,
    account_id uuid,
    bill_id uuid,
    payment_id uuid,
    from_state text,
    to_state text,
    source text not null check (
        source in ('api', 'worker', 'timetable', 'notification', 'reconciliation', 'staff')
    ),
    task_id text check (length(task_id) <= 255),
    trace_id text check (length(trace_id) <= 64),
    -- Ids, dates, amounts, reason codes. Never a secret, never a personal trace.
    detail jsonb not null default '{}' check (pg_column_size(detail) <= 8192),
    -- Whether it is told to others. Only these are given a position.
    is_public boolean not null,
    -- Where it stands in the order that readers follow; given after its commit.
    position bigint,
    primary key (id, at)
) partition by range (at);

create index event_of_account on event (account_id, id);
create index event_of_payment on event (payment_id, id) where payment_id is not null;
create index event_unsequenced on event (id) where is_public and position is null;
create index event_in_order on event (position) where position is not null;

-- Rows outside every partition that was made in time still find a place.
create table event_default partition of event default;

-- The log as a whole. A restore begins a new epoch: positions of another one mean nothing.
create table event_log (
    is_one boolean primary key default true check (is_one),
    epoch uuid not null default gen_random_uuid(),
    last_position bigint not null default 0,
    -- Rows up to here are gone: whoever stands before it has missed some.
    dropped_position bigint not null default 0
);
insert into event_log default values;

create function event_is_append_only() returns trigger
    language plpgsql as $$
begin
    raise exception 'the event log is append-only' using errcode = 'restrict_violation';
end
$$;
-- The one change of a row: it is given its position, once.
create trigger event_is_never_changed before update on event
    for each row when (
        old.position is not null
        or (old.id, old.at, old.kind, old.account_id, old.bill_id, old.payment_id, old.from_state, old.to_state,
            old.source, old.task_id, old.trace_id, old.detail, old.is_public)
            is distinct from
           (new.id, new.at, new.kind, new.account_id, new.bill_id, new.payment_id, new.from_state, new.to_state,
            new.source, new.task_id, new.trace_id, new.detail, new.is_public)
    ) execute function event_is_append_only();
create trigger event_is_never_deleted before delete on event
    for each row execute function event_is_append_only();
create trigger event_is_never_emptied before truncate on event
    for each statement execute function event_is_append_only();

-- Makes the partitions of the months from `first` on, `months` of them; those that exist stay. Rows that came before
-- their partition move into it.
create function make_event_partitions(first timestamptz, months integer) returns integer
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
select make_event_partitions(now(), 3);

-- Drops the months that ended before `before`. Readers who still stand there are told.
create function drop_event_partitions(before timestamptz) returns integer
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
