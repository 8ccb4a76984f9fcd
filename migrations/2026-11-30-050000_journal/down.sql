drop view journal_fault;
drop table journal_line;
drop table journal_entry;
drop function journal_line_is_checked();
drop function journal_entry_is_checked();
drop function journal_is_append_only();
