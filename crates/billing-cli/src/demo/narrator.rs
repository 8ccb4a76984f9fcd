//! Tells a person what happens, with how long each step took.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// Narrates scenes and remembers what went wrong.
#[derive(Default)]
pub(super) struct Narrator {
    scene: u32,
    step_started: Option<Instant>,
    failures: Vec<String>,
}

#[expect(clippy::print_stdout, reason = "the demo speaks to the person who started it")]
impl Narrator {
    pub(super) fn title(&self, text: impl Display) {
        println!("\n{text}");
    }

    pub(super) fn scene(&mut self, title: &str) {
        self.scene += 1;
        println!("\n{}. {title}", self.scene);
        self.step_started = Some(Instant::now());
    }

    /// A step that went as it should; its duration counts from the step before.
    pub(super) fn step(&mut self, text: impl Display) {
        println!("   ✓ {text}  ({})", human(self.lap()));
    }

    pub(super) fn failed(&mut self, what: impl Display) {
        println!("   ✗ {what}  ({})", human(self.lap()));
        self.failures.push(format!("scene {}: {what}", self.scene));
    }

    pub(super) fn line(&self, text: impl Display) {
        println!("   {text}");
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        self.step_started.replace(now).map_or(Duration::ZERO, |before| now - before)
    }
}

fn human(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
