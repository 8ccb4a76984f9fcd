-- A browser follows the events of its own account, in the order that all readers follow.
create index event_of_account_in_order on event (account_id, position) where position is not null;
