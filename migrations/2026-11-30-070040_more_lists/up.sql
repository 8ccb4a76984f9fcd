-- For the lists of the admin panel, as in 070010_lists.
create index refund_of_state on refund (state, id) where state <> 'succeeded';
create index notification_newest on notification (received_at, gateway_id, body_sha256, kind);
create index notification_receipt on notification (received_at, gateway_id, body_sha256) where kind = 'receipt';
create index notification_orphan on notification (received_at, gateway_id, body_sha256, kind) where effect = 'orphan';
