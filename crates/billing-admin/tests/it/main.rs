//! The panel as a person meets it: in Chromium, and coming from the company's provider of sign-in.
#![expect(clippy::unwrap_used, reason = "here an unwrap is an assertion")]

mod browser;
mod company;
mod seeded;
