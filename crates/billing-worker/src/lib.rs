//! The tasks that move money.
