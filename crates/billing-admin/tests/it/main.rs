//! The panel as a person meets it, in Chromium.
#![expect(clippy::unwrap_used, reason = "here an unwrap is an assertion")]

mod browser;
