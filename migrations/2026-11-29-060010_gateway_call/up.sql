-- Each request to the gateway: begun in the transaction before it, ended in the one after it. A call without an end is a
-- worker that died, or one that could not write down what it heard. No foreign keys, as in `event`.
create table gateway_call (
    id uuid not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    payment_id uuid,
    -- `X-Request-ID`; a question has none.
    request_id text check (length(request_id) <= 255),
    path text not null check (length(path) <= 100),
    task_id text check (length(task_id) <= 255),
    -- Which try of its task, 1 for the first.
    attempt integer not null,
    -- The node.
    worker text,
    http_status integer,
    outcome text check (outcome in ('ok', 'declined', 'safe_to_retry', 'unknown', 'our_fault')),
    -- Named fields only; never a secret, never a personal trace.
    request text check (octet_length(request) <= 4096),
    response text check (octet_length(response) <= 4096),
    primary key (id, started_at),
    constraint gateway_call_ends_with_an_outcome check ((ended_at is null) = (outcome is null))
) partition by range (started_at);
create index gateway_call_of_payment on gateway_call (payment_id, started_at);
create index gateway_call_without_end on gateway_call (started_at) where ended_at is null;
create table gateway_call_default partition of gateway_call default;

-- Makes the partitions of a table that is cut by months: those from `first` on, `months` of them; those that exist stay.
-- Rows that came before their partition move into it.
create function make_month_partitions(parent text, cut_by text, first timestamptz, months integer) returns integer
    language plpgsql as $$
declare
    month timestamptz := date_trunc('month', first at time zone 'UTC') at time zone 'UTC';
    until timestamptz;
    partition text;
    came_before boolean;
    made integer := 0;
begin
    for n in 1..months loop
        until := ((month at time zone 'UTC') + interval '1 month') at time zone 'UTC';
        partition := parent || '_' || to_char(month at time zone 'UTC', 'YYYY_MM');
        if to_regclass(partition) is null then
            execute format('create table %I (like %I including defaults including constraints)', partition, parent);
            execute format('select exists (select from %I where %I >= %L and %I < %L)',
                parent || '_default', cut_by, month, cut_by, until) into came_before;
            if came_before then
                execute format('alter table %I disable trigger user', parent || '_default');
                execute format(
                    'with moved as (delete from %I where %I >= %L and %I < %L returning *) insert into %I select * from moved',
                    parent || '_default', cut_by, month, cut_by, until, partition);
                execute format('alter table %I enable trigger user', parent || '_default');
            end if;
            execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, partition, month, until);
            made := made + 1;
        end if;
        month := until;
    end loop;
    return made;
end
$$;

-- The partitions of the months that ended before `before`.
create function month_partitions_before(parent text, before timestamptz) returns setof text
    language sql stable as $$
    select c.relname::text
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = parent::regclass and c.relname ~ ('^' || parent || '_\d{4}_\d{2}$')
        and (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') at time zone 'UTC' <= before
    order by 1
$$;

create or replace function make_event_partitions(first timestamptz, months integer) returns integer
    language sql as $$ select make_month_partitions('event', 'at', first, months) $$;

-- Readers who still stand in what is dropped are told.
create or replace function drop_event_partitions(before timestamptz) returns integer
    language plpgsql as $$
declare
    partition text;
    last bigint;
    dropped integer := 0;
begin
    for partition in select month_partitions_before('event', before) loop
        execute format('select max(position) from %I', partition) into last;
        update event_log set dropped_position = greatest(dropped_position, last) where last is not null;
        execute format('drop table %I', partition);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$$;

create function make_gateway_call_partitions(first timestamptz, months integer) returns integer
    language sql as $$ select make_month_partitions('gateway_call', 'started_at', first, months) $$;
select make_gateway_call_partitions(now(), 3);

create function drop_gateway_call_partitions(before timestamptz) returns integer
    language plpgsql as $$
declare
    partition text;
    dropped integer := 0;
begin
    for partition in select month_partitions_before('gateway_call', before) loop
        execute format('drop table %I', partition);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$$;
