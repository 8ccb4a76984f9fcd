//! The derive macro of celeriac: a struct of arguments becomes a task.
