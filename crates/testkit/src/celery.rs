//! Celery's command line, many times at the price of one start.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::python::python;

const STARTS_WITHIN: Duration = Duration::from_secs(90);
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// The real `celery` program, with an application loaded: each line is run in a fork, so it has a process of its own,
/// which ends as it ends, but Python starts only once.
pub struct CeleryCommandLine {
    module: String,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

/// What a program has said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub status: i32,
    /// Standard output.
    pub printed: String,
    /// Standard error.
    pub complaints: String,
}

impl CeleryCommandLine {
    /// Loads the application of a module in `directory`.
    pub async fn load<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        directory: &Path,
        module: &str,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut command = Command::new(python());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/command_line.py")).arg(module);
        command.current_dir(directory).env("PYTHONPATH", directory).env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(environment).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the interpreter exists");
        let requests = child.stdin.take().expect("it is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let mut this = Self { module: module.to_owned(), requests, answers, _child: child };
        assert_eq!(this.answer(STARTS_WITHIN).await, "ready");
        this
    }

    /// Runs `celery -A <module> <words>` with nothing on its standard input.
    pub async fn run(&mut self, words: &[&str]) -> Said {
        self.run_with(words, "").await
    }

    /// Runs `celery -A <module> <words>`; panics if it takes more than a minute.
    pub async fn run_with(&mut self, words: &[&str], input: &str) -> Said {
        let words: Vec<_> = ["-A", &self.module].into_iter().chain(words.iter().copied()).collect();
        let request = format!("{}\n", json!({"words": words, "input": input}));
        self.requests.write_all(request.as_bytes()).await.expect("the interpreter reads");
        let answer = self.answer(ENDS_WITHIN).await;
        let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
        let status = answer["status"].as_i64().and_then(|status| i32::try_from(status).ok()).expect("a status");
        Said { status, printed: text("printed"), complaints: text("complaints") }
    }

    async fn answer(&mut self, timeout: Duration) -> Value {
        let line = tokio::time::timeout(timeout, self.answers.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("celery does not end within {timeout:?}"));
        let line = line.expect("a pipe can be read").expect("the interpreter lives; its error output is above");
        serde_json::from_str(&line).expect("JSON")
    }
}
