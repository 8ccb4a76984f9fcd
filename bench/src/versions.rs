//! Of what and on what was measured.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::child::python;
use crate::job::Kind;
use crate::servers::Servers;

/// Names and versions, in the order in which they are shown.
pub async fn read(servers: &Servers) -> Result<Vec<(String, String)>> {
    let output = python(servers, Kind::Classic, "bench").args(["celery_app.py", "versions"]).output().await?;
    let told: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&output.stdout).context("Python cannot tell its versions: is Celery installed?")?;
    let python = |name: &str| told.get(name).and_then(|version| version.as_str()).unwrap_or("?").to_owned();
    let rustc = Command::new("rustc").arg("--version").output().map_or_else(
        |_| "?".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("rustc ").to_owned(),
    );
    let cpus = std::thread::available_parallelism()?;
    let lines = [
        ("celeriac", locked("celeriac")),
        ("lapin", locked("lapin")),
        ("redis (crate)", locked("redis")),
        ("rusty-celery", locked("celery")),
        ("Celery", format!("{} (kombu {}, Python {})", python("Celery"), python("kombu"), python("Python"))),
        ("RabbitMQ", python("RabbitMQ")),
        ("Redis", python("Redis")),
        ("rustc", rustc),
        ("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned()),
        ("machine", format!("{cpus} × {}, {:.0} GB", processor()?, memory()?)),
    ];
    Ok(lines.into_iter().map(|(name, version)| (name.to_owned(), version)).collect())
}

/// The highest version of a package in the lock file: rusty-celery brings older ones of some.
fn locked(package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let lock = include_str!("../Cargo.lock");
    let versions =
        lock.split("[[package]]").filter(|entry| entry.lines().any(|line| line == name)).filter_map(|entry| {
            entry.lines().find_map(|line| Some(line.strip_prefix("version = \"")?.trim_end_matches('"').to_owned()))
        });
    versions
        .max_by_key(|version| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>())
        .unwrap_or_default()
}

fn processor() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("processor");
    Ok(model.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// In gigabytes.
fn memory() -> Result<f64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("the kernel tells memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e9)
}
