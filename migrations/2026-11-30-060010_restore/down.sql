drop index difference_unexplained;
drop table restore;
