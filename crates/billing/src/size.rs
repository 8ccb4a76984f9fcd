//! Sizes in settings: a whole number and a unit, as in `64KiB`, `16MiB`, `1GiB`. A number alone is KiB, as Celery counts
//! memory.

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a size, as in 200MiB; a number alone is KiB")]
pub struct NotASize;

/// Reads a size, in bytes; fit for `#[arg(value_parser = billing::size::parse)]`.
///
/// # Errors
/// [`NotASize`] when it is no number, a fraction, nothing at all, of another unit, or more than 64 bits hold.
pub fn parse(text: &str) -> Result<u64, NotASize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim() {
        "" | "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        _ => 0,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|bytes| *bytes > 0);
    bytes.ok_or(NotASize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_kib_unless_they_say_otherwise() {
        for (text, size) in [("1000", 1_024_000), ("8KiB", 8 << 10), ("200MiB", 200 << 20), ("1G", 1 << 30)] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        for wrong in ["", "0", "-1", "1.5G", "10MB", "99999999999999999999", "18446744073709551615G"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
