drop table role_push;
drop table event_reader;
alter table tariff drop column role;
