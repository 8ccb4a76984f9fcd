//! The caller's deadline, as `grpc-timeout` tells it.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Extensions;

use crate::error::ApiError;

/// When the caller stops waiting; `None` if they did not say. Found in the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Option<Instant>);

impl Deadline {
    /// Reads `grpc-timeout`. One that cannot be understood is treated as absent, as other servers do.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let timeout = headers.get("grpc-timeout").and_then(|value| parse(value.as_bytes()));
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// That of the request with these extensions.
    pub(crate) fn within(extensions: &Extensions) -> Result<Self, ApiError> {
        extensions.get().copied().ok_or_else(|| ApiError::defect("a request came in without passing the gate"))
    }

    /// This one, or that moment if it comes first.
    pub(crate) fn no_later_than(self, moment: Option<Instant>) -> Self {
        Self(self.0.into_iter().chain(moment).min())
    }

    /// Whether the caller has stopped waiting.
    pub(crate) fn is_over(self) -> bool {
        self.0.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Completes when the deadline has passed; without a deadline never.
    pub(crate) async fn passed(self) {
        match self.0 {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// `TimeoutValue TimeoutUnit` of the gRPC protocol over HTTP/2: at most eight digits and one of `HMSmun`.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (text, timeout) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("5m", Duration::from_millis(5)),
            ("6u", Duration::from_micros(6)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("0m", Duration::ZERO),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(timeout), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_timeout() {
        for text in ["", "S", "5", "5s", "-5S", "5 S", "1.5S", "123456789S"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
