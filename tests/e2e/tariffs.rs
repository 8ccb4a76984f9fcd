//! `billing tariffs`: what a tariff may be tried for.

use std::time::Duration;

use testkit::Process;

const PATIENCE: Duration = Duration::from_secs(60);
const MONTH: &str = "00010000-0000-4000-8000-000000000002";

/// The exit status, and all that was said.
async fn run(database: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = Process::billing(arguments, |command| {
        command.env("DATABASE_URL", database);
    })
    .await;
    let status = process.wait(PATIENCE).await.code();
    (status, process.output())
}

#[tokio::test]
async fn a_trial_is_offered_changed_and_taken_away() {
    let database = testkit::postgres().await;
    let url = database.url();
    assert_eq!(run(url, &["migrate", "--seed"]).await.0, Some(0));
    let listed = async || {
        let (status, said) = run(url, &["tariffs", "list"]).await;
        assert_eq!(status, Some(0), "{said}");
        said.lines().find(|line| line.starts_with(MONTH)).expect("the month is on sale").to_owned()
    };
    assert!(listed().await.ends_with("(trial: 7 days for 0.00 RUB)"), "{}", listed().await);
    let (status, said) = run(url, &["tariffs", "trial", MONTH, "--days", "14", "--price", "4900"]).await;
    assert_eq!((status, said.as_str()), (Some(0), "trial: 14 days for 49.00 RUB\n"));
    assert!(listed().await.ends_with("(trial: 14 days for 49.00 RUB)"));
    let (status, said) = run(url, &["tariffs", "trial", MONTH, "--none"]).await;
    assert_eq!((status, said.as_str()), (Some(0), "no trial\n"));
    assert!(!listed().await.contains("trial"));

    for (wrong, status, why) in [
        (&["tariffs", "trial", MONTH][..], 64, "--days"),
        (&["tariffs", "trial", MONTH, "--days", "0"], 64, "1 to 366 days"),
        (&["tariffs", "trial", MONTH, "--days", "7", "--price=-1"], 64, "0 to 100000000"),
        (&["tariffs", "trial", MONTH, "--days", "7", "--none"], 64, "--none"),
        (&["tariffs", "trial", "00010000-0000-4000-8000-00000000000f", "--days", "7"], 1, "there is no tariff"),
    ] {
        let (ended, said) = run(url, wrong).await;
        assert_eq!(ended, Some(status), "{wrong:?}: {said}");
        assert!(said.contains(why), "{wrong:?}: {said}");
    }
}
