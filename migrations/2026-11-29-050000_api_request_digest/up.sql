-- A fingerprint of what a request says besides its verb and account: the same key with other content is refused.
alter table api_request add column digest bytea;
