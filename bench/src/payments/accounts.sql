-- Accounts with numbers, so that each transaction of pgbench takes the next one.
create table if not exists bench_account (n bigint primary key, id uuid not null);
truncate bench_account;
drop sequence if exists bench_next;
create sequence bench_next;
