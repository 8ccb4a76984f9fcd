drop table staff_action;
