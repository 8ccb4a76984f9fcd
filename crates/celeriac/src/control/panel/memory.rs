//! `memsample`, `memdump`, `objgraph`: what a worker takes (`celery/utils/debug.py`).

use std::fmt::Write as _;

use super::arguments::Arguments;
use super::{Answer, Exception, Node, json, proc};
use crate::protocol::Json;

/// How many samples are remembered until they are dumped.
const REMEMBERED: usize = 10_000;
/// How many of them are shown.
const SHOWN: usize = 10;

/// The memory that the process takes now, in words; nothing where the system does not tell.
pub(super) fn memsample(node: &Node, _: &Arguments) -> Answer {
    let sample = proc::resident().map(human_bytes);
    if let Some(sample) = &sample {
        let mut samples = node.memory_samples.lock();
        if samples.len() < REMEMBERED {
            samples.push(sample.clone());
        }
    }
    Ok(json::optional(sample)).into()
}

/// The samples since the last dump, and the memory now. However many are asked for, Celery shows ten.
pub(super) fn memdump(node: &Node, _: &Arguments) -> Answer {
    let samples = std::mem::take(&mut *node.memory_samples.lock());
    Ok(Json::Str(dump(&samples, proc::resident().map(human_bytes).as_deref()))).into()
}

fn dump(samples: &[String], now: Option<&str>) -> String {
    let Some(now) = now else { return "- rss: (psutil not installed).\n".to_owned() };
    let mut text = String::new();
    if !samples.is_empty() {
        text.push_str("- rss (sample):\n");
    }
    for sample in samples.iter().step_by((samples.len() / SHOWN).max(1)).take(SHOWN) {
        let _ = writeln!(text, "-    > {sample},");
    }
    let _ = writeln!(text, "- rss (end): {now}.");
    text
}

/// There are no objects of Python's here: as a worker of Celery's answers that lacks the library.
pub(super) fn objgraph(_: &Node, _: &Arguments) -> Answer {
    Err(Exception { kind: "ImportError", message: "Requires the objgraph library".to_owned() }).into()
}

/// `celery.utils.debug.humanbytes`: five digits that count.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let Some((unit, name)) = UNITS.iter().find(|(unit, _)| bytes >= *unit) else { return format!("{bytes}b") };
    if bytes.is_multiple_of(*unit) {
        return format!("{}{name}", bytes / unit);
    }
    let number = bytes as f64 / *unit as f64;
    let whole_digits = number.log10().floor() as usize + 1;
    let text = format!("{number:.*}", 5_usize.saturating_sub(whole_digits));
    format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_five_digits() {
        for (bytes, text) in
            [(0, "0b"), (1023, "1023b"), (1024, "1KB"), (1536, "1.5KB"), (24_166_400, "23.047MB"), (3 << 30, "3GB")]
        {
            assert_eq!(human_bytes(bytes), text);
        }
    }

    #[test]
    fn a_dump_shows_ten_of_the_samples_evenly() {
        assert_eq!(dump(&[], Some("5MB")), "- rss (end): 5MB.\n");
        let samples = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(dump(&samples(2), Some("5MB")), "- rss (sample):\n-    > 0,\n-    > 1,\n- rss (end): 5MB.\n");
        let many = dump(&samples(35), Some("5MB"));
        assert!(many.contains("-    > 3,\n-    > 6,\n") && many.contains("> 27,\n- rss (end)"), "{many}");
    }
}
