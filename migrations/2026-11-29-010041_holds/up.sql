-- Money that is held and not taken, to be confirmed or let go.
create index payment_held on payment (updated_at) where state = 'authorized';
