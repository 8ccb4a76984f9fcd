//! Pages of `docs/` that name what is elsewhere: what they name is there.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A promise whose test was renamed or dropped is a promise that nobody checks.
#[test]
fn every_test_that_a_guarantee_names_is_there() {
    let mut named = 0;
    for line in page("docs/guarantees.md").lines() {
        let Some((before, function)) = line.trim_end_matches(" |").rsplit_once("` · `") else { continue };
        let file = before.rsplit_once('`').expect("the file stands in backquotes").1;
        if !file.contains('/') {
            continue;
        }
        named += 1;
        let function = function.trim_end_matches('`');
        let code = page(file);
        assert!(code.contains(&format!("fn {function}(")), "{file} has no test {function}");
    }
    assert!(named > 15, "only {named} tests are named");
}

/// Who is woken by an alert finds it on the page.
#[test]
fn every_alert_says_what_to_do() {
    let operations = page("docs/operations.md");
    let alerts = page("deploy/prometheus/alerts.yml");
    let alerts: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(operations.contains(&format!("| `{alert}` |")), "docs/operations.md does not speak of {alert}");
    }
}

/// A link to a page that was moved is of no use.
#[test]
fn every_link_between_pages_leads_somewhere() {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("docs").path());
    let tops = ["README.md", "ARCHITECTURE.md", "proto/README.md", "deploy/kubernetes/README.md"];
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    for page in pages.chain(tops.iter().map(|name| root().join(name))) {
        let text = std::fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains(':') {
                continue;
            }
            assert!(page.parent().expect("a directory").join(file).exists(), "{}: {link}", page.display());
        }
    }
}
