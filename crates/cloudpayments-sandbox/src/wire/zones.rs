//! Time zone codes of the gateway's handbook.

use chrono::FixedOffset;

/// Hours east of UTC.
const ZONES: [(&str, i32); 32] = [
    ("HST", -10),
    ("AKST", -9),
    ("PST", -8),
    ("MST", -7),
    ("CST", -6),
    ("EST", -5),
    ("AST", -4),
    ("BRT", -3),
    ("UTC", 0),
    ("GMT", 0),
    ("CET", 1),
    ("EET", 2),
    ("MSK", 3),
    ("AZT", 4),
    ("AMT", 4),
    ("SAMT", 4),
    ("GET", 4),
    ("TJT", 5),
    ("YEKT", 5),
    ("ALMT", 6),
    ("NOVT", 6),
    ("KRAT", 7),
    ("ICT", 7),
    ("HKT", 8),
    ("IRKT", 8),
    ("SGT", 8),
    ("ULAT", 8),
    ("YAKT", 9),
    ("VLAT", 10),
    ("SAKT", 11),
    ("ANAT", 12),
    ("TRT", 3),
];

pub(super) fn zone(code: &str) -> Option<FixedOffset> {
    let (_, hours) = ZONES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code))?;
    FixedOffset::east_opt(hours * 3600)
}
