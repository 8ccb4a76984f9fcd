//! How many tasks of one kind may run at once, in the whole cluster.

/// Tasks with the same value of an argument run one at a time, or so many at a time, whichever workers have them.
///
/// The value is compared as JSON: `1` and `"1"` are two keys. A task without the argument belongs to the key `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// The argument whose value is the key.
    pub key: &'static str,
    /// How many of one key may run at once; at least 1.
    pub limit: u32,
    /// Tasks with one scope share their keys, for instance all that touch an account; `None`: the task alone.
    pub scope: Option<&'static str>,
}

impl ConcurrencyLimit {
    /// One at a time.
    #[must_use]
    pub const fn one_per(key: &'static str) -> Self {
        Self { key, limit: 1, scope: None }
    }
}
