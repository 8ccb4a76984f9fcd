-- What the staff did to subscriptions: the id is that of the form, so that a form does its work once.
create table staff_action (
    id uuid primary key,
    at timestamptz not null,
    staff_id uuid not null references staff,
    kind text not null check (kind in ('cancel', 'resume', 'forget_card', 'extend', 'ask_gateway')),
    account_id uuid not null references account,
    digest text not null,
    reason text not null check (length(reason) between 3 and 500)
);
create index staff_action_of_account on staff_action (account_id, at);
