//! Arguments that operators must not see: what stands in their place, on every way that they take.

use super::{python, safe};
use crate::protocol::RawJson;
use crate::protocol::json::{Json, Tagged};

/// What stands for a hidden value.
pub const REDACTED: &str = "***";

/// What operators may see of the arguments of a message: the values, unless the text that its sender shows for them
/// (`argsrepr`, `kwargsrepr`) hides some. Then it is that text.
#[must_use]
pub fn visible(shown: Option<&str>, arguments: &RawJson) -> Json {
    match shown {
        Some(text) if hides(text, arguments) => Json::Str(text.to_owned()),
        _ => {
            let mut tree = arguments.to_tree();
            mask(&mut tree);
            tree
        }
    }
}

/// Whether a text that is shown for arguments leaves out some of their values. One that is worded differently, as other
/// versions of Celery do, hides nothing as long as all values stand in it, in their order.
#[must_use]
pub fn hides(shown: &str, arguments: &RawJson) -> bool {
    let ours = [safe::args(arguments), safe::value(arguments)];
    if ours.iter().any(|ours| ours == shown) {
        return false;
    }
    if let Some((head, _)) = shown.split_once("...") {
        // Cut for its length or depth: what stands before that must be ours.
        return head.is_empty() || !ours.iter().any(|ours| ours.starts_with(head));
    }
    let mut rest = shown;
    !stand_in(&arguments.to_tree(), &mut rest)
}

/// Whether a text shows this value.
#[must_use]
pub fn reveals(shown: &str, value: &RawJson) -> bool {
    let mut rest = shown;
    stand_in(&value.to_tree(), &mut rest)
}

/// Finds all values in the text, one after the other.
fn stand_in(value: &Json, rest: &mut &str) -> bool {
    match value {
        Json::List(elements) => elements.iter().all(|element| stand_in(element, rest)),
        Json::Object(entries) => entries.iter().all(|(key, value)| {
            // A key that is a number in Python is text in JSON.
            (find_text(key, rest) || find(key, rest)) && stand_in(value, rest)
        }),
        Json::Null => find("None", rest),
        Json::Bool(flag) => find(if *flag { "True" } else { "False" }, rest),
        Json::Int(number) => find(&number.to_string(), rest),
        Json::Number(text) => find(&safe::number(text), rest),
        Json::Str(text) => find_text(text, rest),
        Json::Tagged(Tagged::Bytes(bytes)) => find_text(&String::from_utf8_lossy(bytes), rest),
        Json::Tagged(tagged) => {
            let shown = python::tagged(tagged);
            // Python has several names for one time zone.
            find(shown.split(", tzinfo=").next().unwrap_or(&shown), rest)
        }
    }
}

/// Finds a word that stands by itself.
fn find(word: &str, rest: &mut &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '.' | '-' | '_' | '+');
    let found = rest.match_indices(word).find(|(at, _)| {
        let (before, after) = (&rest[..*at], &rest[at + word.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    });
    move_behind(found.map(|(at, _)| at + word.len()), rest)
}

/// Finds a string with its quotes, as `repr` or `saferepr` escapes it.
fn find_text(text: &str, rest: &mut &str) -> bool {
    let mut repr = String::new();
    python::quoted(text, &mut repr);
    let ways = [repr, format!("'{}'", text.replace('\'', "\\'")), format!("'{text}'")];
    let found = ways.iter().filter_map(|way| rest.find(way.as_str()).map(|at| at + way.len())).min();
    move_behind(found, rest)
}

fn move_behind(end: Option<usize>, rest: &mut &str) -> bool {
    if let Some(end) = end {
        *rest = &rest[end..];
    }
    end.is_some()
}

/// Hides in a value what the signatures in it hide.
fn mask(value: &mut Json) {
    match value {
        Json::List(elements) => elements.iter_mut().for_each(mask),
        Json::Object(entries) => {
            if let Some(masked) = masked(entries) {
                *entries = masked;
            }
            entries.iter_mut().for_each(|(_, value)| mask(value));
        }
        _ => {}
    }
}

/// The entries of a signature as its options show its arguments; those of a `celery.map` without the arguments for such
/// a signature. `None`: there is nothing to hide.
pub(super) fn masked(entries: &[(String, Json)]) -> Option<Vec<(String, Json)>> {
    let get = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let mut hidden: Vec<(&str, &str)> = Vec::new();
    match get("task")? {
        Json::Str(_) => {
            let options = get("options")?;
            for (arguments, shown) in SHOWN {
                if let Some(Json::Str(text)) = options.get(shown) {
                    hidden.push((arguments, text));
                }
            }
        }
        task @ Json::Object(_) => {
            let options = task.get("options")?;
            if SHOWN.iter().any(|(_, shown)| options.get(shown).is_some()) {
                hidden.push(("it", REDACTED));
            }
        }
        _ => {}
    }
    if hidden.is_empty() {
        return None;
    }
    let show = |(name, value): &(String, Json)| {
        let text = hidden.iter().find(|(hidden, _)| hidden == name);
        (name.clone(), text.map_or_else(|| value.clone(), |(_, text)| Json::from(*text)))
    };
    Some(entries.iter().map(show).collect())
}

/// The arguments of a signature, and the options that say what is shown for them.
const SHOWN: [(&str, &str); 2] = [("args", "argsrepr"), ("kwargs", "kwargsrepr")];

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn a_text_that_shows_every_value_hides_none_however_it_is_worded() {
        for (shown, arguments) in [
            ("(1, 'a')", r#"[1, "a"]"#),
            ("[1, 'a']", r#"[1, "a"]"#),
            ("{'x': \"it's\", 'y': None}", r#"{"x": "it's", "y": null}"#),
            ("( 1 , True )", "[1, true]"),
            ("()", "[]"),
            ("({1: 2},)", r#"[{"1": 2}]"#),
            (
                "(datetime.datetime(2026, 11, 29, 17, 43, tzinfo=zoneinfo.ZoneInfo(key='UTC')),)",
                r#"[{"__type__": "datetime", "__value__": "2026-11-29T17:43:00+00:00"}]"#,
            ),
            ("([1, [2, [...]]],)", "[[1, [2, [[3]]]]]"),
        ] {
            assert!(!hides(shown, &raw(arguments)), "{shown} for {arguments}");
        }
    }

    #[test]
    fn a_text_that_lacks_a_value_hides_it_however_short_that_is() {
        for (shown, arguments) in [
            ("{'pin': '***'}", r#"{"pin": "SECRET"}"#),
            ("{'pin': '***'}", r#"{"pin": "i"}"#),
            ("(4711, '***')", "[4711, 4]"),
            ("('***',)", "[4]"),
            ("", r#"["SECRET"]"#),
            ("...", r#"["SECRET"]"#),
            ("hidden...", r#"["SECRET"]"#),
        ] {
            assert!(hides(shown, &raw(arguments)), "{shown} for {arguments}");
        }
    }

    #[test]
    fn a_signature_in_the_arguments_hides_what_its_options_hide() {
        let arguments = raw(
            r#"{"task": {"task": "pay", "args": [], "kwargs": {"pin": "SECRET"}, "options": {"kwargsrepr": "{}"}}, "it": ["SECRET"]}"#,
        );
        let text = safe::kwargs(&arguments);
        assert!(!text.contains("SECRET"), "{text}");
        let mut shown = Vec::new();
        visible(None, &arguments).write(&mut shown);
        let shown = String::from_utf8(shown).unwrap();
        assert!(!shown.contains("SECRET") && shown.contains("***"), "{shown}");
    }
}
