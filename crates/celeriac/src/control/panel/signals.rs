//! Signals by their names (`celery/platforms.py`, `Signals.signum`). Bodies here are no processes that could get one, but
//! callers name them and events tell of them.

use super::Exception;
use crate::protocol::Json;

/// What is sent when nothing is said.
pub(super) const SIGTERM: i32 = 15;

#[rustfmt::skip]
const NAMES: [(&str, i32); 31] = [
    ("SIGHUP", 1), ("SIGINT", 2), ("SIGQUIT", 3), ("SIGILL", 4), ("SIGTRAP", 5), ("SIGABRT", 6), ("SIGBUS", 7),
    ("SIGFPE", 8), ("SIGKILL", 9), ("SIGUSR1", 10), ("SIGSEGV", 11), ("SIGUSR2", 12), ("SIGPIPE", 13), ("SIGALRM", 14),
    ("SIGTERM", 15), ("SIGSTKFLT", 16), ("SIGCHLD", 17), ("SIGCONT", 18), ("SIGSTOP", 19), ("SIGTSTP", 20),
    ("SIGTTIN", 21), ("SIGTTOU", 22), ("SIGURG", 23), ("SIGXCPU", 24), ("SIGXFSZ", 25), ("SIGVTALRM", 26),
    ("SIGPROF", 27), ("SIGWINCH", 28), ("SIGIO", 29), ("SIGPWR", 30), ("SIGSYS", 31),
];

/// The number of a signal; SIGTERM for none.
pub(super) fn number(signal: Option<&Json>) -> Result<i32, Exception> {
    let name = match signal {
        None | Some(Json::Null | Json::Int(0)) => return Ok(SIGTERM),
        Some(Json::Int(number)) => return Ok(i32::try_from(*number).unwrap_or(SIGTERM)),
        Some(Json::Str(name)) if name.is_empty() => return Ok(SIGTERM),
        Some(Json::Str(name)) if *name == name.to_uppercase() && *name != name.to_lowercase() => name,
        Some(_) => return Err(Exception::type_error("signal name must be uppercase string.")),
    };
    let full = if name.starts_with("SIG") { name.clone() } else { format!("SIG{name}") };
    let known = NAMES.iter().find(|(name, _)| *name == full);
    known.map(|(_, number)| *number).ok_or_else(|| Exception {
        kind: "AttributeError",
        message: format!("module 'signal' has no attribute '{full}'"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for (signal, number) in [
            (None, Ok(15)),
            (Some(Json::Null), Ok(15)),
            (Some("SIGKILL".into()), Ok(9)),
            (Some("KILL".into()), Ok(9)),
            (Some(Json::Int(2)), Ok(2)),
            (Some("kill".into()), Err("TypeError('signal name must be uppercase string.')")),
            (Some("FOO".into()), Err(r#"AttributeError("module 'signal' has no attribute 'SIGFOO'")"#)),
        ] {
            let found = super::number(signal.as_ref()).map_err(|exception| exception.repr());
            assert_eq!(found, number.map_err(str::to_owned), "{signal:?}");
        }
    }
}
