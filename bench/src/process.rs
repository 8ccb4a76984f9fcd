//! What the kernel tells about processes.

use std::fs;

use anyhow::{Context, Result};

/// The kernel counts processor time in hundredths of a second (`USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

/// A process and its descendants.
pub fn tree(root: u32) -> Vec<u32> {
    let mut family = vec![root];
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

/// Processor time of these processes so far, in seconds.
pub fn cpu_seconds(pids: &[u32]) -> f64 {
    let of = |pid: &u32| {
        let stat = stat(*pid)?;
        Some(stat.get(11)?.parse::<f64>().ok()? + stat.get(12)?.parse::<f64>().ok()?)
    };
    pids.iter().filter_map(of).sum::<f64>() / TICKS_A_SECOND
}

/// Processor time so far of a server with a process for each session, in seconds: those that have ended count too.
pub fn cpu_seconds_of_family(root: u32) -> f64 {
    let ended = |field: usize| stat(root)?.get(field)?.parse::<f64>().ok();
    let ended = ended(13).unwrap_or_default() + ended(14).unwrap_or_default();
    cpu_seconds(&tree(root)) + ended / TICKS_A_SECOND
}

/// Resident memory in megabytes (10⁶ bytes). Pages that several of them share count once.
pub fn resident_megabytes(pids: &[u32]) -> Result<f64> {
    let mut kilobytes = 0.0;
    for pid in pids {
        // A single process answers for all it has; a family for each one's share.
        let (file, field) = if pids.len() == 1 { ("status", "VmRSS:") } else { ("smaps_rollup", "Pss:") };
        let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).context("the kernel tells memory")?;
        kilobytes += line.trim().trim_end_matches(" kB").parse::<f64>()?;
    }
    Ok(kilobytes * 1024.0 / 1e6)
}

/// The fields of `/proc/<pid>/stat` behind the program's name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}
