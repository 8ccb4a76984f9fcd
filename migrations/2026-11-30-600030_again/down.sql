drop table staff_errand;
