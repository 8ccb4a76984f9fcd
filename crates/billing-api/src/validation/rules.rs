//! What a single field must be.

use std::net::{IpAddr, Ipv4Addr};

use billing::store::refunds::Ask;
use secrecy::SecretString;
use uuid::Uuid;

/// Real packets have 300 to 1,500 characters.
const MAX_CRYPTOGRAM: usize = 4096;
const MAX_IDEMPOTENCY_KEY: usize = 128;
/// Real answers have 3,000 to 10,000 characters.
const MAX_PA_RES: usize = 32 * 1024;

/// Only the hyphenated form: an id has one spelling, apart from the case of its letters.
pub(super) fn uuid(text: &str) -> Result<Uuid, &'static str> {
    const RULE: &str = "must be a UUID like 018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a10";
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(RULE);
    }
    let id = Uuid::try_parse(text).map_err(|_| RULE)?;
    if id.is_nil() { Err("must not be the nil UUID") } else { Ok(id) }
}

pub(super) fn reason(text: &str) -> Result<String, &'static str> {
    line(text, Ask::MAX_REASON).ok_or("must be 1 to 500 characters without control characters")
}

pub(super) fn actor(text: &str) -> Result<String, &'static str> {
    line(text, 128).ok_or("must be 1 to 128 characters without control characters")
}

pub(super) fn role(text: &str) -> Result<String, &'static str> {
    line(text, 64).ok_or("must be 1 to 64 characters without control characters")
}

pub(super) fn line(text: &str, most: usize) -> Option<String> {
    let is_sound = text.chars().count() <= most && !text.chars().any(char::is_control);
    is_sound.then(|| text.to_owned())
}

pub(super) fn cryptogram(text: &str) -> Result<SecretString, &'static str> {
    if text.len() > MAX_CRYPTOGRAM {
        return Err("must not be longer than 4096 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-_.".contains(&b)) {
        return Err("must be the base64 text that the checkout script made");
    }
    if looks_like_a_card_number(text) {
        return Err("must be the packet that the checkout script made, never a card number");
    }
    Ok(text.into())
}

/// The digits of a card number, with or without dashes, pass the check of ISO/IEC 7812-1. A packet may be digits only
/// too, but begins with 0, as no card's number does.
fn looks_like_a_card_number(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter(|c| *c != '-').map_while(|c| c.to_digit(10)).collect();
    let all = digits.len() == text.chars().filter(|c| *c != '-').count();
    let luhn = |(place, digit): (usize, &u32)| if place % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 };
    all && (12..=19).contains(&digits.len())
        && digits.first() != Some(&0)
        && digits.iter().rev().enumerate().map(luhn).sum::<u32>() % 10 == 0
}

pub(super) fn ip_address(text: &str) -> Result<IpAddr, &'static str> {
    let address: IpAddr =
        text.parse().map_err(|_| "must be an IPv4 or IPv6 address like 203.0.113.7 or 2001:db8::7")?;
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("must be the address of the customer");
    }
    Ok(address)
}

pub(super) fn idempotency_key(text: &str) -> Result<String, &'static str> {
    if text.len() > MAX_IDEMPOTENCY_KEY {
        return Err("must not be longer than 128 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be visible ASCII characters without spaces");
    }
    Ok(text.into())
}

/// `MD` as the gateway gave it: a positive decimal number of 64 bits.
pub(super) fn transaction_id(text: &str) -> Result<i64, &'static str> {
    const RULE: &str = "must be the decimal number that came as MD";
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RULE);
    }
    text.parse().ok().filter(|id| *id > 0).ok_or(RULE)
}

/// Banks break the base64 of a PaRes into lines, so white space belongs to it.
pub(super) fn pa_res(text: &str) -> Result<SecretString, &'static str> {
    if text.len() > MAX_PA_RES {
        return Err("must not be longer than 32768 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) {
        return Err("must be the ASCII text that the bank posted as PaRes");
    }
    if text.trim_ascii().is_empty() {
        return Err("is required");
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_hyphenated_uuid() {
        assert!(uuid("018F6A5E-7c1b-7b7e-9d3a-2f1f0c4f9a10").is_ok());
        for text in [
            "018f6a5e7c1b7b7e9d3a2f1f0c4f9a10",
            "{018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a10}",
            "urn:uuid:018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a10",
            "018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a1g",
            "00000000-0000-0000-0000-000000000000",
            "42",
            "é18f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a1",
        ] {
            assert!(uuid(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cryptogram_is_base64_and_no_card_number() {
        let longest = "A".repeat(MAX_CRYPTOGRAM);
        for text in [
            "01492500008719030128SMfLeYdKp5dSQVIiO5l6ZCJiPdel4uDjdFTTz1UnXY",
            "eyJUeXBl_-.+/==",
            "0142424242423012",
            &longest,
        ] {
            assert!(cryptogram(text).is_ok(), "{text}");
        }
        let too_long = "A".repeat(MAX_CRYPTOGRAM + 1);
        for text in ["a b", "a\n", "пакет", "4242424242424242", "4242-4242-4242-4242", "{\"pan\":1}", &too_long] {
            assert!(cryptogram(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_of_version_four_or_six_and_has_one_spelling() {
        for (text, address) in [
            ("203.0.113.7", "203.0.113.7"),
            ("127.0.0.1", "127.0.0.1"),
            ("2001:DB8::7", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(ip_address(text).map(|a| a.to_string()).as_deref(), Ok(address));
        }
        for text in [
            "203.0.113",
            "203.0.113.256",
            "203.0.113.7:80",
            "localhost",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1%eth0",
            "10.0.0.1/8",
            " 1.2.3.4",
        ] {
            assert!(ip_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        let longest = "k".repeat(MAX_IDEMPOTENCY_KEY);
        for text in ["1", "018f6a5e-7c1b-7b7e-9d3a-2f1f0c4f9a10", "a:b/c~", &longest] {
            assert!(idempotency_key(text).is_ok(), "{text}");
        }
        let too_long = "k".repeat(MAX_IDEMPOTENCY_KEY + 1);
        for text in [" ", "a b", "a\0", "ключ", "a\n", &too_long] {
            assert!(idempotency_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn md_is_a_positive_decimal_number_of_64_bits() {
        assert_eq!(transaction_id("504"), Ok(504));
        assert_eq!(transaction_id("9223372036854775807"), Ok(i64::MAX));
        for text in ["0", "-1", "+1", "1.0", "1e3", "0x10", " 1", "9223372036854775808", "١٢"] {
            assert!(transaction_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pa_res_is_ascii_and_may_be_broken_into_lines() {
        let longest = "A".repeat(MAX_PA_RES);
        for text in ["eJzVWNmSo8iS", "eJzV\r\nWNmS\r\n", &longest] {
            assert!(pa_res(text).is_ok(), "{text}");
        }
        let too_long = "A".repeat(MAX_PA_RES + 1);
        for text in [" \r\n", "\u{1}", "ответ", &too_long] {
            assert!(pa_res(text).is_err(), "{text}");
        }
    }
}
