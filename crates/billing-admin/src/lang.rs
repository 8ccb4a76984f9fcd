//! The languages of the staff.

use billing::text::Text;

/// A language that the pages are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lang {
    En,
    Ru,
}

impl Lang {
    /// What a browser asks for, first come first served; Russian, where it asks for neither.
    pub(crate) fn accepted(header: &str) -> Self {
        header.split(',').find_map(|part| Self::named(part.trim().get(..2)?)).unwrap_or(Self::Ru)
    }

    pub(crate) fn named(code: &str) -> Option<Self> {
        match code {
            "en" => Some(Self::En),
            "ru" => Some(Self::Ru),
            _ => None,
        }
    }

    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ru => "ru",
        }
    }

    /// The one of two texts that is in this language.
    pub(crate) const fn of<'a>(self, en: &'a str, ru: &'a str) -> &'a str {
        match self {
            Self::En => en,
            Self::Ru => ru,
        }
    }

    pub(crate) fn text(self, text: &Text) -> String {
        self.of(&text.en, &text.ru).to_owned()
    }

    /// The form of a word that goes with this number: of one, of several; in Russian of one, of a few, of many (CLDR).
    pub(crate) const fn counted<'a>(self, n: u64, en: [&'a str; 2], ru: [&'a str; 3]) -> &'a str {
        match self {
            Self::En => en[if n == 1 { 0 } else { 1 }],
            Self::Ru => match (n % 10, n % 100) {
                (_, 11..=14) => ru[2],
                (1, _) => ru[0],
                (2..=4, _) => ru[1],
                _ => ru[2],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lang;

    #[test]
    fn numbers_take_the_right_form() {
        let ru = |n| Lang::Ru.counted(n, ["", ""], ["платёж", "платежа", "платежей"]);
        assert_eq!(
            [0, 1, 2, 5, 11, 12, 21, 22, 25, 111, 121].map(ru),
            [
                "платежей",
                "платёж",
                "платежа",
                "платежей",
                "платежей",
                "платежей",
                "платёж",
                "платежа",
                "платежей",
                "платежей",
                "платёж"
            ]
        );
        let en = |n| Lang::En.counted(n, ["payment", "payments"], ["", "", ""]);
        assert_eq!([0, 1, 2, 21].map(en), ["payments", "payment", "payments", "payments"]);
    }

    #[test]
    fn a_browser_is_given_what_it_asks_for() {
        for (header, lang) in
            [("en-US,en;q=0.9", Lang::En), ("de, ru;q=0.8, en;q=0.7", Lang::Ru), ("fr", Lang::Ru), ("", Lang::Ru)]
        {
            assert_eq!(Lang::accepted(header), lang, "{header}");
        }
    }
}
