drop table audit_log;
drop function audit_log_is_append_only();
drop table staff_sign_in;
drop table staff_session;
drop table staff;
