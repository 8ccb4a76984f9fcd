//! Programs under test are watched through what they print, and never outlive their test.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{Process, Signal};

const SOON: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::spawn("script", command)
}

#[tokio::test]
async fn a_line_is_waited_for_on_either_stream() {
    let mut process = shell("echo one; echo listening on 1 >&2; printf 'listening on 2 (half)'; exec sleep 100");
    assert_eq!(process.wait_for_line("listening", SOON).await, "listening on 1");
    assert!(process.is_running());
    assert!(process.output().starts_with("one\n"));
}

#[tokio::test]
#[should_panic(expected = "without printing \"listening\":\nno such port")]
async fn a_program_that_ends_instead_fails_the_test_with_what_it_said() {
    shell("echo no such port; exit 64").wait_for_line("listening", SOON).await;
}

#[tokio::test]
async fn a_signal_arrives_and_the_exit_status_is_told() {
    let mut process = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
    process.wait_for_line("ready", SOON).await;
    process.signal(Signal::Terminate);
    assert_eq!(process.wait(SOON).await.code(), Some(7));

    let mut process = shell("exec sleep 100");
    process.signal(Signal::Kill);
    assert_eq!(process.wait(SOON).await.signal(), Some(9));
}

#[tokio::test]
async fn a_program_does_not_outlive_its_test() {
    let process = shell("exec sleep 100");
    let entry = format!("/proc/{}", process.pid());
    assert!(Path::new(&entry).exists());
    drop(process);
    assert!(!Path::new(&entry).exists());
}
