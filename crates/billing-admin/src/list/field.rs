//! The conditions of a list.

use crate::page::{Chip, Choice, Shell};
use crate::pages::{day_chips, days};
use crate::params::Params;

/// A condition that can be set.
pub(crate) enum Field {
    Choice {
        name: &'static str,
        label: &'static str,
        choices: Vec<Choice>,
    },
    Text {
        name: &'static str,
        label: &'static str,
        value: String,
    },
    /// The fields `from` and `to`.
    Days {
        label: &'static str,
        from: String,
        to: String,
    },
}

impl Field {
    /// One of all values of an enumeration, in words.
    pub(crate) fn choice<T: Copy>(
        query: &Params,
        name: &'static str,
        label: &'static str,
        all: &[T],
        value: impl Fn(T) -> &'static str,
        word: impl Fn(T) -> &'static str,
    ) -> Self {
        let choice =
            |one: &T| Choice { value: value(*one), word: word(*one).to_owned(), is_on: query.get(name) == value(*one) };
        Self::Choice { name, label, choices: all.iter().map(choice).collect() }
    }

    pub(crate) fn text(query: &Params, name: &'static str, label: &'static str) -> Self {
        Self::Text { name, label, value: query.get(name).to_owned() }
    }

    pub(crate) fn days(query: &Params, label: &'static str) -> Self {
        Self::Days { label, from: query.get("from").to_owned(), to: query.get("to").to_owned() }
    }

    pub(super) fn chips(&self, query: &Params, shell: &Shell) -> Vec<Chip> {
        let chip = |says: String, name| Chip { says, without: query.with(name, "") };
        match self {
            Self::Choice { name, label, choices } => {
                let chosen = choices.iter().find(|choice| choice.is_on);
                chosen.map(|choice| chip(format!("{label}: {}", choice.word), name)).into_iter().collect()
            }
            Self::Text { name, label, value } if !value.is_empty() => vec![chip(format!("{label}: {value}"), name)],
            Self::Text { .. } => Vec::new(),
            Self::Days { .. } => day_chips(shell, query, days(query, shell.zone)),
        }
    }
}
