//! The columns of a list, and what it is sorted by.

use billing::store::browse::{Order, Sort};

use super::Listed;
use crate::lang::Lang;
use crate::page::Chip;
use crate::params::Params;

/// The field of an address that says how a list is sorted: the name of a key, with a `-` before it for the largest first.
const SORT: &str = "sort";

/// A column.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(super) name: &'static str,
    pub(super) is_number: bool,
    /// How the list is sorted by it at first.
    key: Option<&'static str>,
    /// Which rows are left when it is, if not all of them are.
    only: &'static str,
}

impl Head {
    pub(crate) const fn text(name: &'static str) -> Self {
        Self { name, is_number: false, key: None, only: "" }
    }

    pub(crate) const fn number(name: &'static str) -> Self {
        Self { is_number: true, ..Self::text(name) }
    }

    /// The list can be sorted by this column, and is so at first.
    pub(crate) const fn by(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Only these rows have something to be sorted by.
    pub(crate) const fn only(self, only: &'static str) -> Self {
        Self { only, ..self }
    }
}

/// How a column is sorted, and how it can be.
pub(super) struct Sorting {
    pub(super) href: String,
    /// `ascending` or `descending`, if it is what the list is sorted by.
    pub(super) direction: Option<&'static str>,
}

impl Sorting {
    pub(super) fn arrow(&self) -> &'static str {
        match self.direction {
            Some("ascending") => "▲",
            Some(_) => "▼",
            None => "↕",
        }
    }
}

fn name(key: &str) -> &str {
    key.strip_prefix('-').unwrap_or(key)
}

/// What the list is sorted by: what the address says, if one of the columns can do that.
fn sorted<'a>(query: &'a Params, heads: &[Head], else_by: &'static str) -> &'a str {
    let asked = query.get(SORT);
    let is_known = heads.iter().any(|head| head.key.is_some_and(|key| name(key) == name(asked)));
    if is_known { asked } else { else_by }
}

/// The way to the other orders, for each column.
pub(super) fn sortings(query: &Params, heads: &[Head], else_by: &'static str) -> Vec<Option<Sorting>> {
    let now = sorted(query, heads, else_by);
    let sorting = |head: &Head| {
        let first = head.key?;
        let is_now = name(first) == name(now);
        let next = match now.strip_prefix('-') {
            Some(key) if is_now => key.to_owned(),
            None if is_now => format!("-{now}"),
            _ => first.to_owned(),
        };
        let href = query.with(SORT, if next == else_by { "" } else { &next });
        let direction = is_now.then(|| if now.starts_with('-') { "descending" } else { "ascending" });
        Some(Sorting { href, direction })
    };
    heads.iter().map(sorting).collect()
}

/// Which rows the sorting leaves, if not all of them.
pub(crate) fn chip<L: Listed>(query: &Params, lang: Lang) -> Option<Chip> {
    let heads = L::heads(lang);
    let now = name(sorted(query, &heads, L::SORTED));
    let head = heads.iter().find(|head| head.key.is_some_and(|key| name(key) == now))?;
    (!head.only.is_empty()).then(|| Chip { says: head.only.to_owned(), without: query.with(SORT, "") })
}

/// What the address says of one of these keys, if it says so.
pub(crate) fn asked<K: Copy>(query: &Params, keys: &[(&str, K)]) -> Option<Sort<K>> {
    let asked = query.get(SORT);
    let order = if asked.starts_with('-') { Order::Descending } else { Order::Ascending };
    let key = keys.iter().find(|(key, _)| *key == name(asked));
    key.map(|(_, by)| Sort { by: *by, order })
}

/// Likewise, or by the first of them, the newest first.
pub(crate) fn sort<K: Copy + Default>(query: &Params, keys: &[(&str, K)]) -> Sort<K> {
    asked(query, keys).unwrap_or_default()
}

/// Likewise, of a list that is sorted by one thing only.
pub(crate) fn order(query: &Params, key: &str) -> Order {
    sort(query, &[(key, ())]).order
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: [Head; 3] = [Head::text("Made").by("-made"), Head::number("Amount").by("amount"), Head::text("State")];

    #[test]
    fn a_column_is_sorted_and_then_the_other_way() {
        for (query, made, amount) in [
            ("", ("?sort=made", Some("descending")), ("?sort=amount", None)),
            ("sort=made", ("?", Some("ascending")), ("?sort=amount", None)),
            ("state=a&sort=amount&after=7", ("?state=a", None), ("?state=a&sort=-amount", Some("ascending"))),
            ("sort=-amount", ("?", None), ("?sort=amount", Some("descending"))),
            ("sort=state", ("?sort=made", Some("descending")), ("?sort=amount", None)),
        ] {
            let query = Params::read(query.as_bytes());
            let sortings = sortings(&query, &HEADS, "-made");
            let seen = |at: usize| sortings[at].as_ref().map(|it| (it.href.as_str(), it.direction));
            assert_eq!((seen(0), seen(1), seen(2)), (Some(made), Some(amount), None), "{query:?}");
        }
    }

    #[test]
    fn only_keys_that_there_are_sort() {
        let keys = [("made", 1), ("amount", 2)];
        let read = |query: &str| sort(&Params::read(query.as_bytes()), &keys);
        assert_eq!(read("sort=amount"), Sort { by: 2, order: Order::Ascending });
        assert_eq!(read("sort=-made"), Sort { by: 1, order: Order::Descending });
        for wrong in ["", "sort=", "sort=-", "sort=id; drop table account"] {
            assert_eq!(read(wrong), Sort { by: 0, order: Order::Descending }, "{wrong}");
        }
    }
}
