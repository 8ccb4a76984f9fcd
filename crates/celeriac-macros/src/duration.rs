//! Durations as they are written in attributes.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Error, LitStr};

/// A duration; as tokens an expression of type `Duration`.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Milliseconds(u64);

impl ToTokens for Milliseconds {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self(milliseconds) = self;
        tokens.extend(quote!(::core::time::Duration::from_millis(#milliseconds)));
    }
}

/// Reads `"500ms"`, `"30s"`, `"5m"`, `"1h"` or `"2d"`.
pub(crate) fn parse(literal: &LitStr) -> syn::Result<Milliseconds> {
    match milliseconds(&literal.value()).ok_or_else(|| refused(literal.span()))? {
        0 => Err(Error::new(literal.span(), "a duration above zero is expected")),
        milliseconds => Ok(Milliseconds(milliseconds)),
    }
}

pub(crate) fn refused(span: Span) -> Error {
    Error::new(span, "not a duration: write \"500ms\", \"30s\", \"5m\", \"1h\" or \"2d\"")
}

fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("2d", Some(172_800_000)),
            ("", None),
            ("10", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1 s", None),
            ("1week", None),
            ("99999999999999999999s", None),
            ("9999999999999999999d", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text:?}");
        }
    }
}
