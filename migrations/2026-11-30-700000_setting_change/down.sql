drop table setting_change;
