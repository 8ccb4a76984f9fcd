//! The signals of `celery worker`: SIGTERM and SIGINT ask to finish; the second one, or SIGQUIT, to drop what runs.

use billing_worker::Stop;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit;

/// What the signals of this process ask for.
///
/// The first SIGTERM or SIGINT asks for a warm shutdown, the second one for a soft one, and the third for a cold one.
/// SIGQUIT asks for a soft one at once and for a cold one then. Without `WORKER_SOFT_SHUTDOWN_TIMEOUT` soft is cold. One
/// more ends the process there and then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    pub stop: Stop,
}

impl Signals {
    /// Starts to listen. From here on a signal no longer ends the process by itself.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let signals = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        let stop = signals.stop.clone();
        tokio::spawn(async move {
            loop {
                let is_quit = tokio::select! {
                    _ = terminate.recv() => false,
                    _ = interrupt.recv() => false,
                    _ = quit.recv() => true,
                };
                let next = next(&stop, is_quit);
                tracing::info!(signal = if is_quit { "SIGQUIT" } else { "SIGTERM or SIGINT" }, "{next} shutdown");
                if next == HARD {
                    std::process::exit(exit::FAILED.into());
                }
            }
        });
        Ok(signals)
    }
}

const HARD: &str = "hard";

/// Goes on to the next kind of shutdown, and names it.
fn next(stop: &Stop, is_quit: bool) -> &'static str {
    let Stop { warm, soft, cold } = stop;
    if cold.is_cancelled() {
        return HARD;
    }
    if soft.is_cancelled() {
        cold.cancel();
        return "cold";
    }
    if warm.is_cancelled() || is_quit {
        // Roles other than the worker know only a warm one.
        warm.cancel();
        soft.cancel();
        return "soft";
    }
    warm.cancel();
    "warm"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_from_warm_to_soft_to_cold_and_sigquit_leaves_warm_out() {
        let stop = Stop::default();
        let kinds = [false, false, false, true].map(|is_quit| next(&stop, is_quit));
        assert_eq!(kinds, ["warm", "soft", "cold", HARD]);
        let stop = Stop::default();
        assert_eq!([true, true].map(|is_quit| next(&stop, is_quit)), ["soft", "cold"]);
        let stop = Stop::default();
        assert_eq!([false, true, true].map(|is_quit| next(&stop, is_quit)), ["warm", "soft", "cold"]);
    }
}
