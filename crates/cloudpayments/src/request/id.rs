//! The idempotency key.

use std::{fmt, str::FromStr};

/// The idempotency key of a request (`X-Request-ID`): for one hour the gateway processes at most one
/// successful request with it and gives all of them the same answer. After that hour the same key
/// charges anew, so never resend a charge that is older than 50 minutes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(String);

/// Empty, longer than 128 bytes, or with something else than visible ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is 1 to 128 visible ASCII characters")]
pub struct InvalidRequestId;

impl RequestId {
    /// A key that fits into a header.
    pub fn new(key: impl Into<String>) -> Result<Self, InvalidRequestId> {
        let key = key.into();
        let fits = (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(key)) } else { Err(InvalidRequestId) }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(key: &str) -> Result<Self, InvalidRequestId> {
        Self::new(key)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_fits_into_a_header() {
        assert_eq!(RequestId::new("charge:1").unwrap().as_str(), "charge:1");
        for bad in ["", "two words", "line\r\nbreak", "ключ", &"x".repeat(129)] {
            assert_eq!(RequestId::new(bad), Err(InvalidRequestId), "{bad}");
        }
    }
}
