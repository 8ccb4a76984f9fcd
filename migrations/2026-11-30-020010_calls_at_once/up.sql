-- The calls that are under way, from all workers: there are only so many at once.
create index role_push_under_way on role_push (leased_until) where leased_until is not null;
