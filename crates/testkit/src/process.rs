//! A program under test, in a process of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{billing_binary, eventually};

/// A running program. What it prints goes to a file; it is killed with this value, and if the test is failing by then
/// the end of its output is shown.
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    _directory: TempDir,
}

/// What can be sent to a [`Process`].
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Terminate,
    Interrupt,
    Quit,
    Hangup,
    Kill,
    Stop,
    Continue,
}

impl Process {
    /// Starts a program; `name` is what failures call it.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        let directory = TempDir::with_prefix("process-").expect("a temporary directory");
        let output = directory.path().join("output");
        let file = File::create(&output).expect("the directory is new");
        let copy = file.try_clone().expect("a second handle of an open file");
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start ({command:?}): {error}"));
        Self { name: name.to_owned(), child, output, _directory: directory }
    }

    /// Starts the `billing` binary of this workspace; `customize` adds environment variables and the like.
    pub async fn billing(arguments: &[&str], customize: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(billing_binary().await);
        command.args(arguments);
        customize(&mut command);
        Self::spawn(&format!("billing {}", arguments.join(" ")), command)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed by now, both streams.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// The first complete line with `text` in it; panics when the program ends before it or `timeout` is over.
    pub async fn wait_for_line(&mut self, text: &str, timeout: Duration) -> String {
        self.wait_for_lines(text, 1, timeout).await.remove(0)
    }

    /// The first `count` complete lines with `text` in them.
    pub async fn wait_for_lines(&mut self, text: &str, count: usize, timeout: Duration) -> Vec<String> {
        eventually(timeout, || std::future::ready(self.lines_with(text, count))).await
    }

    fn lines_with(&mut self, text: &str, count: usize) -> Result<Vec<String>, String> {
        // Whether it has ended is asked first: what it printed last must not be missed.
        let ended = self.child.try_wait().expect("it is our child");
        let (name, output) = (&self.name, self.output());
        let complete = output.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let found: Vec<_> = complete.lines().filter(|line| line.contains(text)).map(str::to_owned).collect();
        if found.len() >= count {
            return Ok(found);
        }
        assert!(ended.is_none(), "{name} ended ({ended:?}) without printing {text:?}:\n{}", tail(&output));
        Err(format!("{name} has not printed {text:?} {count} times"))
    }

    /// Waits for its end.
    pub async fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let child = &mut self.child;
        eventually(timeout, || std::future::ready(child.try_wait().expect("it is our child"))).await
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Panics if it has ended.
    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
            Signal::Quit => "QUIT",
            Signal::Hangup => "HUP",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("kill is everywhere").success(), "{} has ended before SIG{name}", self.name);
    }
}

#[expect(clippy::print_stderr, reason = "the output of a failing test is the place to show it")]
impl Drop for Process {
    fn drop(&mut self) {
        // Either may fail because it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the end of what {} printed:\n{}---", self.name, tail(&self.output()));
        }
    }
}

fn tail(output: &str) -> String {
    let lines: Vec<_> = output.lines().collect();
    let mut tail = lines[lines.len().saturating_sub(40)..].join("\n");
    tail.push('\n');
    tail
}
