//! What goes to standard output, and how replies look there (`celery/bin/base.py`, `CLIContext`).

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use celeriac::protocol::Json;

use super::failure::Failure;
use super::python;

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Say no more than what was asked.
    pub(super) quiet: bool,
    colors: bool,
}

#[derive(Clone, Copy)]
enum Color {
    Red = 31,
    Green = 32,
    Cyan = 36,
    White = 37,
}

impl Output {
    pub(super) fn new(quiet: bool, no_color: bool) -> Self {
        Self { quiet, colors: !no_color && io::stdout().is_terminal() }
    }

    pub(super) fn line(self, text: &str) -> io::Result<()> {
        // Written out at once, so that a pipe can be followed.
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// A line of bytes, as they are.
    pub(super) fn bytes(self, line: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(line)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Without a line's end.
    pub(super) fn raw(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Asks; anything but yes ends the verb.
    pub(super) fn confirm(self, question: &str) -> Result<(), Failure> {
        self.raw(question)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::aborted()),
        }
    }

    /// One worker's reply: its verdict, and with `body` what it said.
    pub(super) fn reply(self, node: &str, reply: &Json, body: bool) -> io::Result<()> {
        let (verdict, text) = self.pretty(reply);
        let arrow = if self.quiet { String::new() } else { format!("{} ", self.style("->", Color::White, true)) };
        self.line(&format!("{arrow} {}{verdict}", self.style(&format!("{node}: "), Color::Cyan, true)))?;
        if body { self.line(&indented(&text)) } else { Ok(()) }
    }

    /// How many have answered.
    pub(super) fn online(self, nodes: usize) -> io::Result<()> {
        let word = if nodes == 1 { "node" } else { "nodes" };
        self.line(&format!("\n{nodes} {word} online."))
    }

    pub(super) fn warning(self, text: &str) -> String {
        self.style(text, Color::Red, false)
    }

    fn pretty(self, reply: &Json) -> (String, String) {
        let ok = || self.style("OK", Color::Green, true);
        match reply {
            Json::List(items) if items.is_empty() => (ok(), "- empty -".to_owned()),
            Json::List(items) => {
                let star = self.style("*", Color::White, false);
                let lines: Vec<_> = items.iter().map(|item| format!("{star} {}", python::text(item))).collect();
                (ok(), lines.join("\n"))
            }
            Json::Object(_) => {
                if let Some(said) = reply.get("ok") {
                    return (ok(), indented(&self.pretty(said).1));
                }
                if let Some(said) = reply.get("error") {
                    return (self.style("ERROR", Color::Red, true), indented(&self.pretty(said).1));
                }
                (ok(), python::dumps_pretty(reply))
            }
            other => (ok(), python::text(other)),
        }
    }

    fn style(self, text: &str, color: Color, bold: bool) -> String {
        if !self.colors {
            return text.to_owned();
        }
        let bold = if bold { "\x1b[1m" } else { "" };
        format!("\x1b[{}m{bold}{text}\x1b[0m", color as u8)
    }
}

fn indented(text: &str) -> String {
    text.split('\n').map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use celeriac::protocol::RawJson;

    use super::*;

    fn shown(reply: &str) -> (String, String) {
        let reply = RawJson::parse(reply.to_owned()).unwrap().to_tree();
        Output { quiet: false, colors: false }.pretty(&reply)
    }

    #[test]
    fn replies_look_as_celerys_command_line_shows_them() {
        for (reply, verdict, text) in [
            (r#"{"ok":"pong"}"#, "OK", "    pong"),
            (r#"{"error":"unknown task"}"#, "ERROR", "    unknown task"),
            ("[]", "OK", "- empty -"),
            (r#"["a",{"k":[1,null]}]"#, "OK", "* a\n* {'k': [1, None]}"),
            (r#"{"clock":5}"#, "OK", "{\n    \"clock\": 5\n}"),
            ("null", "OK", "None"),
            (r#"{"ok":"two\nlines"}"#, "OK", "    two\n    lines"),
            ("{}", "OK", "{}"),
        ] {
            assert_eq!(shown(reply), (verdict.to_owned(), text.to_owned()), "{reply}");
        }
    }
}
