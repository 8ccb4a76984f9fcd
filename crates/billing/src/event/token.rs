//! Where a reader of the log stands, as a text that it keeps and gives back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// A place in the log: everything up to it has been read. 0 is the beginning.
pub type Position = i64;

/// Epoch and position. A restore of the database begins a new epoch, in which older positions mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeToken {
    pub epoch: Uuid,
    pub position: Position,
}

/// The text was not made by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a resume token of this service")]
pub struct BadToken;

const VERSION: u8 = 1;
const LENGTH: usize = 1 + 16 + 8;

impl std::fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.epoch.as_bytes());
        bytes.extend_from_slice(&self.position.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl std::str::FromStr for ResumeToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken)?;
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| BadToken)?;
        let [VERSION, rest @ ..] = bytes else { return Err(BadToken) };
        let (epoch, position) = rest.split_at(16);
        let epoch = Uuid::from_slice(epoch).map_err(|_| BadToken)?;
        let position = Position::from_be_bytes(position.try_into().map_err(|_| BadToken)?);
        if position < 0 { Err(BadToken) } else { Ok(Self { epoch, position }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = ResumeToken { epoch: Uuid::from_u128(7), position: 1_234_567 };
        assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn what_we_did_not_write_is_no_token() {
        let negative = ResumeToken { epoch: Uuid::from_u128(7), position: -1 }.to_string();
        for text in ["", "AQ", "not base64!", &"A".repeat(34), &"A".repeat(10_000), &negative] {
            assert_eq!(text.parse::<ResumeToken>(), Err(BadToken), "{text}");
        }
    }
}
