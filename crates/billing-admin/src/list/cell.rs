//! What stands in the rows of a list.

use askama::Template;

use crate::page::Shell;
use crate::show::{Pill, When};

/// What stands in a row.
pub(crate) enum Cell {
    Text(String),
    /// With an address; the whole of what is shortened is its title.
    Link {
        href: String,
        text: String,
        title: String,
    },
    State(Pill),
    When(When),
    /// With a remark behind it.
    Noted(Box<Cell>, String),
    /// What is shown on demand: headings, and what stands below them.
    Folded(Vec<(&'static str, String)>),
    /// Longer words, which may be broken.
    Words(String),
}

/// As it stands in the page.
#[derive(Template)]
#[template(path = "cell.html")]
pub(crate) struct Drawn<'a> {
    cell: &'a Cell,
    shell: &'a Shell,
}

impl Cell {
    pub(super) fn drawn<'a>(&'a self, shell: &'a Shell) -> Drawn<'a> {
        Drawn { cell: self, shell }
    }

    /// A moment, if there is one.
    pub(crate) fn when(when: Option<When>) -> Self {
        when.map_or_else(|| Self::Text(String::new()), Self::When)
    }

    /// With a remark, if there is one.
    pub(crate) fn noted(self, note: impl Into<String>) -> Self {
        let note = note.into();
        if note.is_empty() { self } else { Self::Noted(Box::new(self), note) }
    }

    /// To the page of an id.
    pub(crate) fn link(path: &str, id: Option<impl ToString>) -> Self {
        id.map_or_else(
            || Self::Text(String::new()),
            |id| {
                let title = id.to_string();
                Self::Link { href: format!("/{path}/{title}"), text: crate::show::short(&title), title }
            },
        )
    }
}
