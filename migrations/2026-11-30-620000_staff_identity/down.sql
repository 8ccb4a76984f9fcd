alter table staff_session drop column factor_by_provider, drop column issuer;
alter table staff drop column password_always;
drop table staff_sign_in_state;
drop table staff_identity;
