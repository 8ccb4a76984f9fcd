//! Values of settings.

use std::time::Duration;

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match billing::duration::parse(text) {
        Ok(Duration::ZERO) => Err("must not be zero".into()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

pub(crate) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1_000_000).contains(&n) => Ok(n),
        _ => Err("expected a number from 1 to 1000000".into()),
    }
}
