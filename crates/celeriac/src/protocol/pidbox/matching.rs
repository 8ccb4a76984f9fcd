//! Which nodes a pattern means (`kombu/matcher.py`).

/// A pattern that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// Neither `glob` nor `pcre`.
    #[error("No matcher installed for {0}")]
    UnknownMatcher(String),
    /// The pattern is too long, or no regular expression.
    #[error("the pattern {pattern:?} cannot be read: {reason}")]
    Pattern {
        /// As it came.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The longest pattern that is looked at.
const MAX_PATTERN: usize = 1024;

/// Whether `node` matches: `glob` as Python's `fnmatch`, `pcre` as `re.match`, which looks from the start of the name but
/// not to its end.
pub(super) fn matches(node: &str, pattern: &str, matcher: &str) -> Result<bool, MatchError> {
    let refused = |reason: String| MatchError::Pattern { pattern: pattern.to_owned(), reason };
    if pattern.len() > MAX_PATTERN {
        return Err(refused(format!("longer than {MAX_PATTERN} bytes")));
    }
    match matcher {
        "glob" => Ok(glob(&node.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>())),
        "pcre" => {
            let expression = regex_lite::RegexBuilder::new(&format!("^(?:{pattern})"))
                .size_limit(1 << 20)
                .build()
                .map_err(|error| refused(error.to_string()))?;
            Ok(expression.is_match(node))
        }
        unknown => Err(MatchError::UnknownMatcher(unknown.to_owned())),
    }
}

/// `fnmatch`: `*`, `?`, `[abc]`, `[a-z]`, `[!abc]`, over the whole name. Steps back only to the last star, so it takes at
/// most the product of both lengths.
fn glob(text: &[char], pattern: &[char]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Behind the last star of the pattern, and up to where it has eaten the text.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        if pattern.get(next) == Some(&'*') {
            next += 1;
            star = Some((next, at));
        } else if let Some(width) = pattern.get(next..).and_then(|rest| one(text[at], rest)) {
            at += 1;
            next += width;
        } else if let Some((behind, eaten)) = star {
            star = Some((behind, eaten + 1));
            (at, next) = (eaten + 1, behind);
        } else {
            return false;
        }
    }
    pattern[next..].iter().all(|character| *character == '*')
}

/// How much of the pattern stands for this one character; `None` if it does not fit.
fn one(character: char, pattern: &[char]) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] => match set_end(rest) {
            Some(end) => in_set(character, &rest[..end]).then_some(end + 2),
            // A bracket that is never closed stands for itself.
            None => (character == '[').then_some(1),
        },
        [same, ..] if *same == character => Some(1),
        _ => None,
    }
}

/// Where the set ends; a bracket at its very start belongs to it.
fn set_end(rest: &[char]) -> Option<usize> {
    let start = usize::from(rest.first() == Some(&'!'));
    rest.iter().enumerate().skip(start + 1).find(|(_, character)| **character == ']').map(|(end, _)| end)
}

fn in_set(character: char, set: &[char]) -> bool {
    let (negated, mut set) = match set {
        ['!', set @ ..] => (true, set),
        set => (false, set),
    };
    let mut found = false;
    while let [first, rest @ ..] = set {
        if let ['-', last, rest @ ..] = rest {
            found |= (*first..=*last).contains(&character);
            set = rest;
        } else {
            found |= *first == character;
            set = rest;
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glob_is_pythons_fnmatch() {
        for (node, pattern, expected) in [
            ("w1@host", "w1@host", true),
            ("w1@host", "w1@*", true),
            ("w1@host", "*", true),
            ("w1@host", "*@host", true),
            ("w1@host", "w?@host", true),
            ("w1@host", "w[0-9]@host", true),
            ("w1@host", "w[!0-9]@host", false),
            ("wx@host", "w[!0-9]@host", true),
            ("w1@host", "w[abc1]@*", true),
            ("w]@host", "w[]]@*", true),
            ("w[@host", "w[@host", true),
            ("w-@host", "w[a-]@*", true),
            ("w1@host", "w1", false),
            ("w1@host", "", false),
            ("w1@hosthost", "*@*host", true),
            ("w1@hostess", "*@*host", false),
            ("w1@host", "W1@host", false),
        ] {
            assert_eq!(matches(node, pattern, "glob"), Ok(expected), "{node} {pattern}");
        }
    }

    #[test]
    fn a_hostile_glob_takes_no_time() {
        let node = "a".repeat(1000);
        assert_eq!(matches(&node, &("*a".repeat(400) + "b"), "glob"), Ok(false));
    }

    #[test]
    fn pcre_matches_from_the_start() {
        assert_eq!(matches("w1@host", "w[0-9]+", "pcre"), Ok(true));
        assert_eq!(matches("w1@host", "host", "pcre"), Ok(false));
        assert_eq!(matches("w1@host", "x|w", "pcre"), Ok(true));
        assert_eq!(matches("w1@host", "w1@host$", "pcre"), Ok(true));
        assert!(matches!(matches("w1@host", "(", "pcre"), Err(MatchError::Pattern { .. })));
    }

    #[test]
    fn an_unknown_matcher_is_named() {
        let error = matches("w1@host", "x", "soundex").unwrap_err();
        assert_eq!(error.to_string(), "No matcher installed for soundex");
    }
}
