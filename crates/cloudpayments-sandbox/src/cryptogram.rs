//! Card cryptograms of the sandbox: what checkout.js makes in a browser, for test cards.
//!
//! A packet looks like a real one (`CardCryptogramPacket`):
//!
//! ```text
//! 01 424242 4242 3012 00 Jd8x…                  without the spaces
//! │  │      │    │    │  └ 256 bytes in base64
//! │  │      │    │    └ version of the key: 00 is the sandbox's, no real terminal has it
//! │  │      │    └ expiry, YYMM
//! │  first six, last four digits
//! └ format
//! ```
//!
//! A real packet ends in an RSA block only the gateway can open. Ours holds a nonce (every packet is different, and good
//! for one payment, as real ones are), `number@YYMM@cvv` disguised with it, and a checksum. It hides nothing and need
//! not: test cards are public. It only keeps numbers out of sight in logs and databases as real packets do.
//!
//! By hand a packet can be written as the same header followed by base64 of `number`, `number@YYMM` or
//! `number@YYMM@cvv`, or by nothing: `0142424242423012`. It has no nonce and may be used again.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::cards::{CardMask, Expiry, TestCard};

const FORMAT: &str = "01";
const SANDBOX_KEY: &str = "00";
const NONCE: usize = 16;
const CHECKSUM: usize = 32;
const BLOCK: usize = 256;

/// Longest packet the parser looks at, in bytes; real ones have about 360.
pub(crate) const MAX_PACKET: usize = 4096;

/// A field of [`cryptogram`] that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    #[error("card_number must have 13 to 19 digits")]
    Number,
    #[error("exp must be MM/YY")]
    Expiry,
    #[error("cvv must have 3 or 4 digits")]
    Cvv,
}

impl CardError {
    /// The name of the wrong field.
    pub fn field(self) -> &'static str {
        match self {
            Self::Number => "card_number",
            Self::Expiry => "exp",
            Self::Cvv => "cvv",
        }
    }
}

/// Makes a cryptogram packet, good for one payment. The expiry is `MM/YY` (a past one is accepted here and declined by
/// the gateway); spaces and dashes in the number are ignored.
///
/// # Errors
///
/// The field that is not what it should be. The number itself is not repeated in the message.
pub fn cryptogram(card_number: &str, exp: &str, cvv: &str) -> Result<String, CardError> {
    let number: String = card_number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    if !(13..=19).contains(&number.len()) || !is_digits(&number) {
        return Err(CardError::Number);
    }
    let (month, year) = exp.trim().split_once('/').ok_or(CardError::Expiry)?;
    let expiry = Expiry::new(month.trim(), year.trim()).ok_or(CardError::Expiry)?;
    let cvv = cvv.trim();
    if !matches!(cvv.len(), 3 | 4) || !is_digits(cvv) {
        return Err(CardError::Cvv);
    }

    let (first_six, last_four) = (&number[..6], &number[number.len() - 4..]);
    let year_month = expiry.year_month();
    let block = seal(&format!("{number}@{year_month}@{cvv}"), *Uuid::new_v4().as_bytes());
    Ok(format!("{FORMAT}{first_six}{last_four}{year_month}{SANDBOX_KEY}{}", BASE64_STANDARD.encode(block)))
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) mask: CardMask,
    /// `None`: a card that is not for tests.
    pub(crate) card: Option<&'static TestCard>,
    /// To know a packet again without keeping it; `None` for one without a nonce.
    pub(crate) digest: Option<PacketDigest>,
}

/// The packet cannot be read, was changed on its way, or contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CardCryptogramPacket is invalid")]
pub(crate) struct InvalidPacket;

/// The first half of a packet's SHA-256, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct PacketDigest(String);

impl Packet {
    /// Reads packets of the sandbox (the checksum must hold), packets written by hand, and packets of real terminals,
    /// which cannot be opened: their header says which card it was.
    pub(crate) fn parse(packet: &str) -> Result<Self, InvalidPacket> {
        let packet: String = packet.chars().filter(|c| !c.is_whitespace()).collect();
        if packet.len() > MAX_PACKET {
            return Err(InvalidPacket);
        }
        let header = packet.strip_prefix(FORMAT).ok_or(InvalidPacket)?;
        let (first_six, header) = take_digits(header, 6)?;
        let (last_four, header) = take_digits(header, 4)?;
        let (year, header) = take_digits(header, 2)?;
        let (month, rest) = take_digits(header, 2)?;
        let expiry = Expiry::new(month, year).ok_or(InvalidPacket)?;
        let mask = CardMask { first_six: first_six.to_owned(), last_four: last_four.to_owned(), expiry };

        if let Some(sealed) = rest.strip_prefix(SANDBOX_KEY).and_then(decode).filter(|block| block.len() >= BLOCK) {
            let content = open(&sealed).ok_or(InvalidPacket)?;
            let card = agree(&content, &mask).ok_or(InvalidPacket)?;
            return Ok(Self { mask, card, digest: Some(PacketDigest::of(&packet)) });
        }
        let by_hand = [rest, rest.get(2..).unwrap_or_default()].into_iter().filter_map(decode).find_map(|bytes| {
            let text = String::from_utf8(bytes).ok()?;
            is_digits(text.split('@').next()?).then_some(text)
        });
        let card = match by_hand {
            Some(content) => agree(&content, &mask).ok_or(InvalidPacket)?,
            None if rest.starts_with(SANDBOX_KEY) => return Err(InvalidPacket),
            None => mask.test_card(),
        };
        Ok(Self { mask, card, digest: None })
    }
}

impl PacketDigest {
    fn of(packet: &str) -> Self {
        let digest = Sha256::digest(packet.as_bytes());
        Self(digest[..16].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The card that `number[@YYMM[@cvv]]` names, if header and content speak of the same one.
#[expect(clippy::option_option, reason = "outer: they agree; inner: it is a test card")]
fn agree(content: &str, mask: &CardMask) -> Option<Option<&'static TestCard>> {
    let mut parts = content.split('@');
    let number = parts.next().filter(|number| number.len() >= 10)?;
    let same_card = number.starts_with(&mask.first_six) && number.ends_with(&mask.last_four);
    let same_expiry = parts.next().is_none_or(|year_month| year_month == mask.expiry.year_month());
    (same_card && same_expiry).then(|| TestCard::by_number(number))
}

fn seal(content: &str, nonce: [u8; NONCE]) -> Vec<u8> {
    let mut plain = content.as_bytes().to_vec();
    plain.resize(BLOCK - NONCE - CHECKSUM, 0);
    let checksum = checksum(&nonce, &plain);
    let mut block = nonce.to_vec();
    block.extend(disguise(&nonce, &plain));
    block.extend(checksum);
    block
}

fn open(block: &[u8]) -> Option<String> {
    if block.len() != BLOCK {
        return None;
    }
    let (nonce, rest) = block.split_at(NONCE);
    let (disguised, sum) = rest.split_at(rest.len() - CHECKSUM);
    let plain = disguise(nonce, disguised);
    if checksum(nonce, &plain) != sum {
        return None;
    }
    let text = String::from_utf8(plain).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}

/// Its own inverse.
fn disguise(nonce: &[u8], bytes: &[u8]) -> Vec<u8> {
    let stream = (0u8..=u8::MAX).flat_map(|n| Sha256::new().chain_update(nonce).chain_update([n]).finalize());
    bytes.iter().zip(stream).map(|(byte, mask)| byte ^ mask).collect()
}

fn checksum(nonce: &[u8], plain: &[u8]) -> [u8; CHECKSUM] {
    Sha256::new().chain_update(b"cloudpayments-sandbox").chain_update(nonce).chain_update(plain).finalize().into()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    // Padding is often lost when a packet is copied by hand.
    let text = text.trim_end_matches('=');
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).ok()
}

fn take_digits(text: &str, count: usize) -> Result<(&str, &str), InvalidPacket> {
    text.split_at_checked(count).filter(|(digits, _)| is_digits(digits)).ok_or(InvalidPacket)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cards::TEST_CARDS;

    #[test]
    fn a_packet_says_what_was_put_in() {
        for card in &TEST_CARDS {
            let packet = cryptogram(card.number, "12/30", "123").unwrap();
            assert!(packet.starts_with(&format!("01{}{}301200", &card.number[..6], &card.number[12..])));
            let read = Packet::parse(&packet).unwrap();
            assert_eq!(read.card, Some(card));
            assert_eq!(read.mask.expiry, Expiry { month: 12, year: 2030 });
        }
    }

    #[test]
    fn two_packets_of_one_card_differ_and_do_not_show_its_number() {
        let [one, two] = [(); 2].map(|()| cryptogram("4242 4242 4242 4242", "12/30", "123").unwrap());
        assert_ne!(one, two);
        assert_ne!(Packet::parse(&one).unwrap().digest, Packet::parse(&two).unwrap().digest);
        assert!(!one.contains("4242424242424242"));
        assert!(!one.contains(&BASE64_STANDARD.encode("4242424242424242")));
    }

    #[test]
    fn a_changed_packet_is_refused() {
        let packet = cryptogram("4242424242424242", "12/30", "123").unwrap();
        for (at, to) in [(2, "5"), (8, "0"), (12, "9"), (60, "*"), (60, "A"), (packet.len() - 8, "+")] {
            let mut changed = packet.clone();
            changed.replace_range(at..=at, to);
            if changed != packet {
                assert_eq!(Packet::parse(&changed), Err(InvalidPacket), "{at}");
            }
        }
        assert_eq!(Packet::parse(&packet[..packet.len() - 20]), Err(InvalidPacket));
    }

    #[test]
    fn packets_may_be_written_by_hand() {
        let card = TestCard::by_number("4111111111111111");
        let header = "0141111111113012";
        for rest in [
            String::new(),
            "01".to_owned(),
            BASE64_STANDARD.encode("4111111111111111"),
            format!("01{}", BASE64_STANDARD.encode("4111111111111111@3012")),
            format!("00{}", BASE64_STANDARD.encode("4111111111111111@3012@123")),
        ] {
            let packet = Packet::parse(&format!("{header}{rest}")).unwrap();
            assert_eq!((packet.card, packet.digest), (card, None), "{rest}");
        }
        let contradiction = format!("{header}{}", BASE64_STANDARD.encode("4242424242424242@3012"));
        assert_eq!(Packet::parse(&contradiction), Err(InvalidPacket));
    }

    #[test]
    fn a_real_terminals_packet_is_known_by_its_header() {
        let docs = "01492500008719030128SMfLeYdKp5dSQVIiO5l6ZCJiPdel4uDjdFTTz1UnXY+3QaZcNOW8lmXg0H670MclS4lI+qLkujKF4p";
        let packet = Packet::parse(docs).unwrap();
        assert_eq!(packet.mask.masked(), "492500******0087");
        assert_eq!(packet.mask.expiry, Expiry { month: 3, year: 2019 });
        assert_eq!(packet.card, None);
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in ["", "01", "не криптограмма", "0142424242423013", "02424242424230120012", "014242424242x012"]
        {
            assert_eq!(Packet::parse(garbage), Err(InvalidPacket), "{garbage}");
        }
        assert_eq!(Packet::parse(&"0".repeat(MAX_PACKET + 1)), Err(InvalidPacket));
    }

    #[test]
    fn wrong_card_details_are_named_and_the_number_is_not_repeated() {
        assert_eq!(cryptogram("4242", "12/30", "123"), Err(CardError::Number));
        assert_eq!(cryptogram("4242424242424242", "1230", "123"), Err(CardError::Expiry));
        assert_eq!(cryptogram("4242424242424242", "00/30", "123"), Err(CardError::Expiry));
        assert_eq!(cryptogram("4242424242424242", "12/30", "12"), Err(CardError::Cvv));
        assert!(!CardError::Number.to_string().contains("4242"));
    }
}
