//! Celery's verbs where nobody answers them.

use std::time::Duration;

use testkit::Process;

const PATIENCE: Duration = Duration::from_secs(60);

/// The status of a verb, and what it has said.
async fn said(words: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut verb = Process::billing(words, |command| {
        command.envs(environment.iter().copied());
    })
    .await;
    let ended = verb.wait(PATIENCE).await;
    (ended.code(), verb.output())
}

#[tokio::test]
async fn a_result_that_does_not_come_is_given_up_after_a_time() {
    let redis = testkit::redis().await;
    let (status, said) = said(&["result", "nobody", "--timeout", "0.5"], &[("RESULT_BACKEND", redis.url())]).await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("celery.exceptions.TimeoutError: The operation timed out."), "{said}");
    assert!(said.contains("nobody has no result after 0.5 s") && said.contains("--timeout"), "{said}");
}

#[tokio::test]
async fn a_management_api_that_cannot_be_asked_is_told_with_the_setting_that_says_where_it_is() {
    let nobody = format!("http://shop:hunter2@127.0.0.1:{}", testkit::free_port());
    let environment = [("BROKER_URL", "amqp://shop:hunter2@127.0.0.1/v"), ("BROKER_API", nobody.as_str())];
    let (status, said) = said(&["list", "bindings"], &environment).await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("BROKER_API (--broker-api URL)") && !said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn no_color_is_a_yes_whatever_it_says_and_none_when_it_is_empty() {
    for value in ["1", "0", "please", ""] {
        let (status, said) = said(&["report"], &[("NO_COLOR", value)]).await;
        assert_eq!(status, Some(0), "NO_COLOR={value}: {said}");
        assert!(!said.contains('\u{1b}'), "{said}");
    }
}
