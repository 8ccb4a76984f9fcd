//! The fields of a form.

use crate::guard::Params;

/// The longest name of a worker, queue, task or id, in bytes.
const MAX_NAME: usize = 300;
/// The most that a pool is changed by, and the largest that it can be told to be.
const MAX_POOL: u32 = 10_000;
/// Messages of one selection.
pub(crate) const MAX_SELECTED: usize = 100;
/// Workers of one selection.
const MAX_NODES: usize = 200;

/// Reads fields and notes what is wrong with them.
pub(super) struct Read<'a> {
    pub(super) form: &'a Params,
    pub(super) wrong: Vec<String>,
}

impl Read<'_> {
    pub(super) fn name(&mut self, field: &str) -> String {
        let text = self.form.get(field);
        if text.is_empty() {
            self.wrong.push(format!("{field}: is missing"));
        } else if text.len() > MAX_NAME || text.chars().any(char::is_control) {
            self.wrong.push(format!("{field}: is no name"));
        }
        text.to_owned()
    }

    pub(super) fn number(&mut self, field: &str, least: u32) -> u32 {
        match self.form.get(field).parse() {
            Ok(number) if (least..=MAX_POOL).contains(&number) => number,
            _ => {
                self.wrong.push(format!("{field}: expected a number from {least} to {MAX_POOL}"));
                0
            }
        }
    }

    /// `10`, `10/s`, `5/m`, `100/h`; 0 is without a limit.
    pub(super) fn rate(&mut self, field: &str) -> String {
        let text = self.form.get(field);
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        if number.parse::<u32>().is_err() || !matches!(unit, "s" | "m" | "h") {
            self.wrong.push(format!("{field}: expected a rate as 10/s, 5/m or 100/h; 0 is without a limit"));
        }
        text.to_owned()
    }

    /// A number of seconds above 0, or nothing.
    pub(super) fn seconds(&mut self, field: &str) -> String {
        let text = self.form.get(field);
        if !text.is_empty() && !text.parse::<f64>().is_ok_and(|seconds| (0.001..=1e7).contains(&seconds)) {
            self.wrong.push(format!("{field}: expected a number of seconds, or nothing"));
        }
        text.to_owned()
    }

    pub(super) fn nodes(&mut self) -> Vec<String> {
        let mut nodes: Vec<_> = self.form.all("node").map(str::to_owned).filter(|node| !node.is_empty()).collect();
        nodes.sort();
        nodes.dedup();
        if nodes.is_empty() {
            self.wrong.push("node: no worker is chosen".to_owned());
        } else if nodes.len() > MAX_NODES
            || nodes.iter().any(|node| node.len() > MAX_NAME || node.chars().any(char::is_control))
        {
            self.wrong.push(format!("node: expected at most {MAX_NODES} names of workers"));
        }
        nodes
    }

    pub(super) fn ids(&mut self) -> Vec<String> {
        let mut ids: Vec<_> = self.form.all("id").map(str::to_owned).collect();
        ids.dedup();
        let is_wrong = |id: &String| id.is_empty() || id.len() > MAX_NAME || id.chars().any(char::is_control);
        if ids.is_empty() {
            self.wrong.push("id: nothing is selected".to_owned());
        } else if ids.len() > MAX_SELECTED || ids.iter().any(is_wrong) {
            self.wrong.push(format!("id: expected at most {MAX_SELECTED} ids"));
        }
        ids
    }
}
