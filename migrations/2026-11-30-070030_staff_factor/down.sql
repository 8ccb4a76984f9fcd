alter table staff_session drop column proved_at, drop column waits_for_code;
drop table staff_invitation;
drop table staff_recovery_code;
drop table staff_factor;
