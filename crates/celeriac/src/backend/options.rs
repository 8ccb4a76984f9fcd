//! How a backend keeps results.

use std::time::Duration;

use crate::protocol::Compression;

/// How a backend keeps results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendOptions {
    /// How long a result is kept after it was stored; `None` is for ever. Celery's `result_expires`, one day.
    pub expires: Option<Duration>,
    /// How long that of a task which failed is kept instead; zero is for ever, `None` as long as others
    /// (`result_failure_expires`). Not in PostgreSQL.
    pub failure_expires: Option<Duration>,
    /// How long what belongs to a chord is kept; zero is for ever, `None` as long as results (`result_chord_expires`).
    /// Not in PostgreSQL.
    pub chord_expires: Option<Duration>,
    /// Compresses results; in Redis alone, as in Celery (`result_compression`). None by default.
    pub compression: Option<Compression>,
    /// Whether the body of a chord gets the results in the order of the header, which is the default, or in the order in
    /// which its tasks ended (`result_chord_ordered` of Celery's `result_backend_transport_options`). In Redis alone; all
    /// programs on it must agree.
    pub chord_ordered: bool,
    /// In front of all keys of results and groups in Redis (`global_keyprefix` of `result_backend_transport_options`); empty
    /// by default.
    pub key_prefix: String,
    /// The name under which the sentinels of `sentinel://` watch the server, unless the address says it
    /// (`?master_name=…`; `master_name` of Celery's `result_backend_transport_options`).
    pub master_name: Option<String>,
    /// How long one operation, and one attempt to connect, may take.
    pub timeout: Duration,
}

impl BackendOptions {
    /// For how long what belongs to a chord is kept.
    pub(crate) fn of_chords(&self) -> Option<Duration> {
        lifetime(self.chord_expires, self.expires)
    }

    /// For how long the results of failed tasks are kept.
    pub(crate) fn of_failures(&self) -> Option<Duration> {
        lifetime(self.failure_expires, self.expires)
    }
}

fn lifetime(own: Option<Duration>, usual: Option<Duration>) -> Option<Duration> {
    own.map_or(usual, |own| Some(own).filter(|own| !own.is_zero()))
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self {
            expires: Some(Duration::from_secs(24 * 60 * 60)),
            failure_expires: None,
            chord_expires: None,
            compression: None,
            chord_ordered: true,
            key_prefix: String::new(),
            master_name: None,
            timeout: Duration::from_secs(5),
        }
    }
}
