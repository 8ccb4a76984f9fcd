//! What to send with a report of a bug (`celery/app/utils.py`, `bugreport`).

use std::fmt::Write as _;

use serde_json::Value;

use crate::protocol::repr;

/// A report about this program: versions, platform, transport, and settings by name. Passwords in addresses are hidden.
#[must_use]
pub fn report(broker: &str, results: Option<&str>, settings: &[(&str, Value)]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let transport = broker.split("://").next().unwrap_or_default();
    let results = results.map_or_else(|| "disabled".to_owned(), hide_password);
    let mut text = format!(
        "\nsoftware -> celeriac:{version} celery:5.7 (protocol 2)\n            rust:{}\nplatform -> system:{system} \
         arch:{architecture}\n            kernel version:{} imp:Rust\nloader   -> built in\nsettings -> \
         transport:{transport} results:{results}\n\n",
        env!("CARGO_PKG_RUST_VERSION"),
        kernel.trim(),
    );
    for (name, value) in settings {
        let mut shown = String::new();
        repr::python_value(value, &mut shown);
        let _ = writeln!(text, "{name}: {shown}");
    }
    text
}

/// An address with its password masked as Celery does (`sanitize_url`): `amqp://guest:********@host`.
#[must_use]
pub fn hide_password(address: &str) -> String {
    let mask = |part: &str| {
        let Some((scheme, rest)) = part.split_once("://") else { return part.to_owned() };
        let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
        // A password may have an @ of its own; what is behind the last one is the host.
        let Some((user, host)) = authority.rsplit_once('@') else { return part.to_owned() };
        match user.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:********@{host}{path}"),
            None => part.to_owned(),
        }
    };
    address.split(';').map(mask).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden() {
        for (address, hidden) in [
            ("amqp://guest:secret@h:5672//", "amqp://guest:********@h:5672//"),
            ("redis://:secret@h/1", "redis://:********@h/1"),
            ("amqp://u:p@ss@h/v", "amqp://u:********@h/v"),
            ("amqp://u:p@a;amqp://u:p@b", "amqp://u:********@a;amqp://u:********@b"),
            ("redis://h/1", "redis://h/1"),
            ("memory://x", "memory://x"),
        ] {
            assert_eq!(hide_password(address), hidden);
        }
    }

    #[test]
    fn a_report_tells_what_runs_here_and_how() {
        let report = report("amqp://h", Some("redis://:secret@h/1"), &[("timezone", "UTC".into())]);
        assert!(report.starts_with("\nsoftware -> celeriac:"), "{report}");
        assert!(
            report.contains("settings -> transport:amqp results:redis://:********@h/1\n\ntimezone: 'UTC'\n"),
            "{report}"
        );
    }
}
