-- What the staff has done once more: the id is that of the form, so that a form does its work once.
create table staff_errand (
    id uuid primary key,
    at timestamptz not null,
    staff_id uuid not null references staff,
    kind text not null check (kind in ('notification', 'receipts')),
    target text not null check (length(target) between 1 and 250),
    reason text not null check (length(reason) between 3 and 500)
);
