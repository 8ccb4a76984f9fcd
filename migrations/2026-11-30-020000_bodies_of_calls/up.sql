-- Bodies of calls are kept for so many days and wiped then, though their rows stay until their month is over.
create index gateway_call_with_bodies on gateway_call (started_at) where request is not null or response is not null;
