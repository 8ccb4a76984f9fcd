//! Texts are cut at the door: what a task was called with may be megabytes, and is kept as often as there are tasks.

use std::borrow::Cow;

use celeriac::protocol::event::EventBody;
use serde::{Deserialize, Serialize};

/// The longest text that is kept, in bytes.
const MAX_TEXT: usize = 1024;
/// A traceback is worth more: its end says what went wrong.
const MAX_TRACEBACK: usize = 4096;

/// A text of a task that may have been cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Text {
    Args,
    Kwargs,
    Result,
    Exception,
    Traceback,
}

/// Cuts the long texts of an event; returns how long they were, in characters.
pub(super) fn clip(body: &mut EventBody<'static>) -> Vec<(Text, usize)> {
    let mut cuts = Vec::new();
    let mut cut = |which, text: &mut Cow<'static, str>| cuts.extend(head(text, MAX_TEXT).map(|was| (which, was)));
    match body {
        EventBody::TaskSent(sent) => {
            cut(Text::Args, &mut sent.args);
            cut(Text::Kwargs, &mut sent.kwargs);
        }
        EventBody::TaskReceived(received) => {
            cut(Text::Args, &mut received.args);
            cut(Text::Kwargs, &mut received.kwargs);
        }
        EventBody::TaskSucceeded { result, .. } => cut(Text::Result, result),
        EventBody::TaskFailed { exception, traceback, .. } | EventBody::TaskRetried { exception, traceback, .. } => {
            cut(Text::Exception, exception);
            if let Some(traceback) = traceback {
                cuts.extend(tail(traceback, MAX_TRACEBACK).map(|was| (Text::Traceback, was)));
            }
        }
        _ => {}
    }
    cuts
}

fn head(text: &mut Cow<'static, str>, max: usize) -> Option<usize> {
    (text.len() > max).then(|| {
        let was = text.chars().count();
        *text = Cow::Owned(text[..text.floor_char_boundary(max)].to_owned());
        was
    })
}

fn tail(text: &mut Cow<'static, str>, max: usize) -> Option<usize> {
    (text.len() > max).then(|| {
        let was = text.chars().count();
        *text = Cow::Owned(text[text.ceil_char_boundary(text.len() - max)..].to_owned());
        was
    })
}
