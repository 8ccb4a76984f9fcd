-- Of a tariff in two stages: how many days the money is held before it is taken. The gateway lets it go after seven.
alter table tariff add column confirm_after integer not null default 0 check (confirm_after between 0 and 6);
