drop table skipped_period;
