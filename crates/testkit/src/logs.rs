//! Logs of the code under test.

use std::io;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Prints what the code under test logs, with the test's output, filtered by `RUST_LOG` (default: warnings).
pub fn show_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // A second call in the same process changes nothing.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

/// While there is only one dispatcher, `tracing` asks that of the current thread whether a line that is reached for the first
/// time is wanted by anybody, and keeps what it says for all threads: a test that listens to nothing would silence the line in
/// one that does (`tracing_core::callsite`, `has_just_one`). With this one there are always more.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));

/// What the code under test logs on this thread while this value lives: in a test whose runtime has no other threads, all
/// that it does there.
pub struct Logs {
    text: Text,
    _guard: DefaultGuard,
}

impl Logs {
    /// Begins to listen, to what passes a filter such as `info` or `celeriac=debug`.
    ///
    /// # Panics
    /// The filter cannot be read.
    #[must_use]
    pub fn of_this_thread(filter: &str) -> Self {
        LazyLock::force(&ANOTHER);
        let text = Text::default();
        let filter = EnvFilter::builder().parse(filter).expect("a filter that can be read");
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(text.clone());
        Self { text, _guard: tracing::subscriber::set_default(lines.finish()) }
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.text.0.lock()).lines().map(str::to_owned).collect()
    }

    /// The lines that contain a text.
    #[must_use]
    pub fn with(&self, text: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(text)).collect()
    }
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Text {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
