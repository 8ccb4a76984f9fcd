//! Logs of the code under test.

use tracing_subscriber::EnvFilter;

/// Prints what the code under test logs, with the test's output, filtered by `RUST_LOG` (default: warnings).
pub fn show_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // A second call in the same process changes nothing.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}
