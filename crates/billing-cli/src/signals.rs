//! SIGTERM and SIGINT: the first asks to finish, the second to drop everything.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the signals of this process ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// Cancelled by the first signal: stop taking work, finish what runs.
    pub warm: CancellationToken,
    /// Cancelled by the second: stop now. The broker delivers again what was not acknowledged.
    pub cold: CancellationToken,
}

impl Signals {
    /// Starts to listen. From here on a signal no longer ends the process by itself.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let signals = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let tokens = signals.clone();
        tokio::spawn(async move {
            for token in [&tokens.warm, &tokens.cold] {
                tokio::select! {
                    _ = terminate.recv() => tracing::info!("SIGTERM received"),
                    _ = interrupt.recv() => tracing::info!("SIGINT received"),
                }
                token.cancel();
            }
        });
        Ok(signals)
    }
}
