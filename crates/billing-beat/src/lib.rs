//! The timetable: what is started by the clock.
