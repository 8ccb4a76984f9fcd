//! `serde(rename_all = "…")` applied to the names of fields (`serde_derive`'s rules for fields in snake case).

use syn::{Error, LitStr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Fields are in snake case already, and `lowercase` leaves them alone too.
    Snake,
    Upper,
    Pascal,
    Camel,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    pub(super) fn parse(rule: &LitStr) -> syn::Result<Self> {
        Ok(match rule.value().as_str() {
            "lowercase" | "snake_case" => Self::Snake,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return Err(Error::new(rule.span(), "serde has no such rule")),
        })
    }

    pub(super) fn apply(self, field: &str) -> String {
        match self {
            Self::Snake => field.to_owned(),
            Self::Upper | Self::ScreamingSnake => field.to_ascii_uppercase(),
            Self::Kebab => field.replace('_', "-"),
            Self::ScreamingKebab => field.to_ascii_uppercase().replace('_', "-"),
            Self::Pascal => pascal(field),
            Self::Camel => {
                let pascal = pascal(field);
                let mut rest = pascal.chars();
                rest.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(rest).collect()
            }
        }
    }
}

fn pascal(field: &str) -> String {
    let mut begin = true;
    let mut name = String::with_capacity(field.len());
    for character in field.chars() {
        if character == '_' {
            begin = true;
        } else if begin {
            name.push(character.to_ascii_uppercase());
            begin = false;
        } else {
            name.push(character);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::Case;

    #[test]
    fn names_follow_serdes_rules_for_fields() {
        for (case, expected) in [
            (Case::Snake, "payment_id_2"),
            (Case::Upper, "PAYMENT_ID_2"),
            (Case::Pascal, "PaymentId2"),
            (Case::Camel, "paymentId2"),
            (Case::ScreamingSnake, "PAYMENT_ID_2"),
            (Case::Kebab, "payment-id-2"),
            (Case::ScreamingKebab, "PAYMENT-ID-2"),
        ] {
            assert_eq!(case.apply("payment_id_2"), expected, "{case:?}");
        }
    }
}
