//! How the environment is read, the same for every option of every role: a variable that is set to nothing, as compose
//! files and shells do, is not set, and a switch is understood as people write it.

use std::ffi::{OsStr, OsString};

use clap::Command;
use clap::builder::{BoolishValueParser, ValueParser};

/// The command with the environment of this process.
pub(crate) fn read(command: Command) -> Command {
    without_the_unset(command, &|name| std::env::var_os(name))
}

/// Whatever this one says is a yes (<https://no-color.org>).
const ANY_TEXT: &str = "NO_COLOR";

/// `1`, `yes`, `on` and `true`, and their opposites, in any case.
pub(crate) fn switches(command: Command) -> Command {
    let switch = ValueParser::bool().type_id();
    command
        .mut_args(|arg| {
            let is_read = arg.get_env().is_some_and(|name| name != ANY_TEXT);
            let is_switch = is_read && arg.get_value_parser().type_id() == switch;
            if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg }
        })
        .mut_subcommands(switches)
}

fn without_the_unset(command: Command, value: &dyn Fn(&OsStr) -> Option<OsString>) -> Command {
    command
        .mut_args(|arg| {
            let is_unset = arg.get_env().and_then(value).is_some_and(|value| value.is_empty());
            if is_unset { arg.env(None::<&str>) } else { arg }
        })
        .mut_subcommands(|subcommand| without_the_unset(subcommand, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_of_every_role_and_verb_that_is_set_to_nothing_is_not_set() {
        let all_empty = |_: &OsStr| Some(OsString::new());
        let command = without_the_unset(crate::cli::command(), &all_empty);
        fn assert_none(command: &Command) {
            for arg in command.get_arguments() {
                assert_eq!(arg.get_env(), None, "{} {}", command.get_name(), arg.get_id());
            }
            command.get_subcommands().for_each(assert_none);
        }
        assert_none(&command);
    }

    #[test]
    fn a_variable_with_a_value_is_kept() {
        let command = without_the_unset(crate::cli::command(), &|_| Some("x".into()));
        let api = command.find_subcommand("api").unwrap();
        assert!(api.get_arguments().any(|arg| arg.get_env() == Some(OsStr::new("API_LISTEN"))));
    }

    #[test]
    fn every_switch_understands_what_people_write() {
        let command = crate::cli::command();
        let mut seen = 0;
        let boolish = ValueParser::from(BoolishValueParser::new());
        for role in command.get_subcommands() {
            for arg in role.get_arguments().filter(|arg| arg.get_env().is_some_and(|name| name != ANY_TEXT)) {
                let parser = arg.get_value_parser();
                if parser.type_id() == ValueParser::bool().type_id() {
                    assert_eq!(format!("{parser:?}"), format!("{boolish:?}"), "{} {}", role.get_name(), arg.get_id());
                    seen += 1;
                }
            }
        }
        assert!(seen >= 5, "there are switches: {seen}");
    }
}
