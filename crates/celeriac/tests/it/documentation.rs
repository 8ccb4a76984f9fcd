//! The pages for users, held against what they are about.

use std::path::Path;

use testkit::run_python;

/// All settings of the installed Celery, as it names them.
async fn settings() -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documentation/settings.py");
    let printed = run_python(script, [""; 0]).await;
    printed.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_setting_of_celery_is_mapped_on_the_page_for_those_who_come_from_it() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/coming-from-celery.md");
    let page = std::fs::read_to_string(page).unwrap();
    let named: std::collections::HashSet<_> = page.split('`').collect();
    let settings = settings().await;
    assert!(settings.len() > 150, "{settings:?}");
    let missing: Vec<_> = settings.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
}
