-- For the lists of the admin panel. What payments pass through has indexes of its own, and what most rows end in is found on
-- the way through the primary key; the states that are few among many are not.
create index account_newest on account (created_at, id);
create index account_of_status on account (status, created_at, id) where status <> 'Active';
create index bill_of_status on bill (status, id) where status <> 'Paid';
create index payment_of_state on payment (state, id) where state not in ('created', 'sending', 'posting_3ds', 'succeeded');
