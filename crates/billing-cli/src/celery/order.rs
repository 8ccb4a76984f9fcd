//! Celery's command line has its global options before the verb, `celery -A proj -q status`, where this program has those
//! of its own. So that a line for one is a line for the other, they may stand there too.

use std::ffi::{OsStr, OsString};

use clap::Subcommand as _;

use super::CeleryCommand;

/// Those that are followed by a value.
const VALUED: [&str; 8] = ["-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"];
const FLAGS: [&str; 5] = ["-C", "--no-color", "-q", "--quiet", "--skip-checks"];

/// Moves Celery's global options from before a verb of Celery's to the end; other lines stay as they are.
#[must_use]
pub fn verb_first(args: Vec<OsString>) -> Vec<OsString> {
    let mut verb = 1;
    while let Some(words) = args.get(verb).and_then(|arg| option_words(arg)) {
        verb += words;
    }
    let is_verb = |arg: &OsString| arg.to_str().is_some_and(CeleryCommand::has_subcommand);
    if verb == 1 || !args.get(verb).is_some_and(is_verb) {
        return args;
    }
    // Whatever stands behind two dashes is no option.
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    [&args[..1], &args[verb..end], &args[1..verb], &args[end..]].concat()
}

/// How many words a global option takes; `None` for anything else.
fn option_words(arg: &OsStr) -> Option<usize> {
    let arg = arg.to_str()?;
    if FLAGS.contains(&arg) {
        return Some(1);
    }
    if VALUED.contains(&arg) {
        return Some(2);
    }
    let has_value_inside = VALUED.iter().any(|option| match arg.strip_prefix(option) {
        Some(rest) if option.starts_with("--") => rest.starts_with('='),
        Some(rest) => !rest.is_empty(),
        None => false,
    });
    has_value_inside.then_some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_options_move_behind_a_verb_of_celerys_and_nothing_else_moves() {
        for (line, moved) in [
            ("billing -A proj status", "billing status -A proj"),
            ("billing -q -b amqp://h inspect ping -j", "billing inspect ping -j -q -b amqp://h"),
            ("billing --broker=amqp://h -Aproj list bindings", "billing list bindings --broker=amqp://h -Aproj"),
            ("billing -C call t -- -x", "billing call t -C -- -x"),
            ("billing status -q", "billing status -q"),
            ("billing -q worker", "billing -q worker"),
            ("billing --log debug status", "billing --log debug status"),
            ("billing -A status", "billing -A status"),
            ("billing", "billing"),
        ] {
            let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(verb_first(words(line)), words(moved), "{line}");
        }
    }
}
