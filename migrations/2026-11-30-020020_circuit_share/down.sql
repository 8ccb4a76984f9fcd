alter table circuit drop column counted_since, drop column failed, drop column calls;
