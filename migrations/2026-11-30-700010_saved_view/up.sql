-- Lists as somebody of the staff wants them again: the conditions and columns of the address, under a name.
create table saved_view (
    id uuid primary key,
    created_at timestamptz not null,
    staff_id uuid not null references staff on delete cascade,
    list text not null check (length(list) between 1 and 40),
    name text not null check (length(name) between 1 and 60),
    query text not null check (length(query) <= 2000),
    unique (staff_id, list, name)
);
