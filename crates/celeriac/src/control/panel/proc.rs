//! What the system tells about this process: Linux' `/proc`; nothing elsewhere.

use super::json;
use crate::protocol::Json;

/// What the kernel counts time in: `sysconf(_SC_CLK_TCK)`, which is 100 wherever Linux runs.
const TICKS_PER_SECOND: f64 = 100.0;

/// As Python's `resource.getrusage` has it; what is not told is 0.
pub(super) fn rusage() -> Json {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let seconds = |field| Json::from(stat_field(&stat, field) as f64 / TICKS_PER_SECOND);
    let zero = || Json::Int(0);
    json::object([
        ("utime", seconds(14)),
        ("stime", seconds(15)),
        ("maxrss", line(&status, "VmHWM:").into()),
        ("ixrss", zero()),
        ("idrss", zero()),
        ("isrss", zero()),
        ("minflt", stat_field(&stat, 10).into()),
        ("majflt", stat_field(&stat, 12).into()),
        ("nswap", zero()),
        ("inblock", (line(&io, "read_bytes:") / 512).into()),
        ("oublock", (line(&io, "write_bytes:") / 512).into()),
        ("msgsnd", zero()),
        ("msgrcv", zero()),
        ("nsignals", zero()),
        ("nvcsw", of_threads("voluntary_ctxt_switches:").into()),
        ("nivcsw", of_threads("nonvoluntary_ctxt_switches:").into()),
    ])
}

/// The sum over all threads; the process' own file tells of the first alone.
fn of_threads(label: &str) -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let status = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok());
    status.map(|status| line(&status, label)).sum()
}

/// Resident memory in bytes.
pub(crate) fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(line(&status, "VmRSS:") * 1024).filter(|bytes| *bytes > 0)
}

/// A field of `/proc/self/stat`, counted as in its manual: from 1. The second is a name in parentheses, which may have
/// spaces.
fn stat_field(stat: &str, field: usize) -> u64 {
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    behind_name.split_whitespace().nth(field - 3).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The number on the line that begins with `label`.
fn line(text: &str, label: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_spaces() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 7 0 250 31 0 0 20 0 5 0 1 2 3";
        let fields: Vec<_> = [10, 12, 14, 15].map(|field| stat_field(stat, field)).into();
        assert_eq!(fields, [100, 7, 250, 31]);
        assert_eq!(stat_field("", 14), 0);
        assert_eq!(line("VmRSS:\t  23048 kB\nThreads:\t3\n", "VmRSS:"), 23048);
        assert_eq!(line("", "VmRSS:"), 0);
    }
}
