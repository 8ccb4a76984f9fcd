//! `billing declines`: what refusals mean is changed while the system runs, with a reason, and taken back.

use std::time::Duration;

use testkit::Process;

const PATIENCE: Duration = Duration::from_secs(60);

/// The exit status, and all that was said.
async fn run(database: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = Process::billing(arguments, |command| {
        command.env("DATABASE_URL", database).env("USER", "anna");
    })
    .await;
    let status = process.wait(PATIENCE).await.code();
    (status, process.output())
}

#[tokio::test]
async fn rules_are_listed_changed_with_a_reason_and_taken_back() {
    let database = testkit::postgres().await;
    let url = database.url();
    assert_eq!(run(url, &["migrate"]).await.0, Some(0));
    let list = async || {
        let (status, said) = run(url, &["declines", "list"]).await;
        assert_eq!(status, Some(0), "{said}");
        said
    };
    let fresh = list().await;
    assert!(fresh.contains("soft             29,72,120,164"), "{fresh}");
    assert!(fresh.lines().any(|line| line.starts_with("5051  soft") && line.contains("недостаточно")), "{fresh}");

    let set = ["declines", "set", "5051", "--max-retries", "2", "--ru", "Нет денег.", "--reason", "fewer"];
    let (status, said) = run(url, &set).await;
    assert_eq!((status, said.contains("version 1")), (Some(0), true), "{said}");
    let schedule = ["declines", "schedule", "soft", "30,60", "--reason", "later"];
    let (status, said) = run(url, &schedule).await;
    assert_eq!((status, said.contains("version 2")), (Some(0), true), "{said}");
    let changed = list().await;
    assert!(changed.contains("soft             30,60\n") && changed.contains("Нет денег."), "{changed}");

    for (wrong, status, why) in [
        (&["declines", "set", "5051", "--max-retries", "3"][..], 64, "--reason"),
        (&["declines", "set", "5051", "--max-retries", "99", "--reason", "x"], 64, "max_retries"),
        (&["declines", "set", "5051", "--group", "hard", "--reason", "x"], 64, "not charged again"),
        (&["declines", "set", "5051", "--group", "nice", "--reason", "x"], 64, "expected one of hard, soft"),
        (&["declines", "schedule", "technical", "1,2", "--reason", "x"], 64, "more than 2 times within 24 h"),
        (&["declines", "schedule", "soft", "200", "--reason", "x"], 64, "the grace"),
        (&["declines", "schedule", "soft", "30,60", "--reason", "x"], 1, "it is so already"),
        (&["declines", "revert", "77", "--reason", "x"], 1, "no version 77"),
    ] {
        let (ended, said) = run(url, wrong).await;
        assert_eq!(ended, Some(status), "{wrong:?}: {said}");
        assert!(said.contains(why), "{wrong:?}: {said}");
    }
    for version in ["2", "1"] {
        let (status, said) = run(url, &["declines", "revert", version, "--reason", "a mistake"]).await;
        assert_eq!(status, Some(0), "{said}");
    }
    assert_eq!(list().await, fresh);
    let (_, history) = run(url, &["declines", "history"]).await;
    assert!(history.starts_with("4 ") && history.contains(" anna rule:5051: fewer\n"), "{history}");
}
