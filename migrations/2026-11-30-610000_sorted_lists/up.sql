-- What lists are sorted by beside their newest rows: the id tells rows of one time or amount apart.
drop index account_due;
create index account_due on account (next_charge_at, id) where next_charge_at is not null;
create index account_paid_until on account (paid_until, id) where paid_until is not null;
create index refund_by_amount on refund (amount, id);

-- Events of a kind, or of a source. Those that come with every payment are found soon wherever one begins to read.
create index event_of_kind on event (kind, id)
    where kind not in ('payment_moved', 'bill_moved', 'access_granted', 'payment_succeeded');
create index event_of_source on event (source, id) where source not in ('api', 'worker', 'timetable');
