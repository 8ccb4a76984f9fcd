//! Whose arguments are not shown, and to whom.

use crate::page::Viewer;

/// What stands in the place of what is not shown.
pub(crate) const HIDDEN: &str = "hidden";

#[derive(Clone, Debug, Default)]
pub(crate) struct Hiding {
    /// Names of tasks; `*` is anything.
    pub(crate) names: Vec<String>,
    /// Who may only look sees no arguments and no results.
    pub(crate) from_readers: bool,
}

impl Hiding {
    /// Nobody is to see with what such a task was called and what it returned. Of one whose name was not heard nobody knows.
    pub(crate) fn hides(&self, name: Option<&str>) -> bool {
        match name {
            Some(name) => self.names.iter().any(|pattern| matches(pattern, name)),
            None => !self.names.is_empty(),
        }
    }

    /// Somebody may see what tasks were called with, but for those that are hidden from all.
    pub(crate) fn shows_to(&self, viewer: &Viewer) -> bool {
        !self.from_readers || viewer.may_act()
    }
}

/// `*` is anything, and everything else is itself.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything() {
        for (pattern, name, is) in [
            ("shop.charge", "shop.charge", true),
            ("shop.charge", "shop.charges", false),
            ("shop.*", "shop.charge", true),
            ("shop.*", "shop", false),
            ("*.charge", "shop.charge", true),
            ("s*p.*ge", "shop.charge", true),
            ("s*x*ge", "shop.charge", false),
            ("*", "", true),
            ("", "shop", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
        let hiding = Hiding { names: vec!["shop.*".to_owned()], from_readers: false };
        assert!(hiding.hides(Some("shop.charge")) && hiding.hides(None) && !hiding.hides(Some("other")));
        assert!(!Hiding::default().hides(None));
    }
}
