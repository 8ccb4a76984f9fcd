//! Draws the live view. Pure.

use celeriac::events::{State, Task, Worker};
use celeriac::protocol;
use chrono::{DateTime, Utc};

#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const MAGENTA: &str = "\x1b[35m";
const PLAIN: &str = "";

const UUID: usize = 36;
const TIME: usize = 8;
const STATE: usize = 9;
/// Title, counts, two headings, two blank lines.
const FRAME: usize = 6;

/// The picture of a cluster, with what moves the cursor and clears the rest of the screen.
pub(super) fn draw(state: &State, address: &str, now: DateTime<Utc>, size: Size) -> String {
    let seconds = now.timestamp_micros() as f64 / 1e6;
    let mut picture = Picture::new(size);
    let (workers, alive) = (state.workers(), state.alive_workers(seconds).count());
    picture.line(BOLD, &format!("events of {address}   {}   ^C: quit", now.format("%H:%M:%S")));
    let (events, tasks, all) = (state.event_count(), state.task_count(), workers.len());
    picture.line(PLAIN, &format!("events: {events}  tasks: {tasks}  workers: {alive}/{all}"));
    picture.line(PLAIN, "");
    // The tasks get at least half of the screen.
    let room = size.rows.saturating_sub(FRAME);
    let shown = workers.len().min((room / 2).max(1));
    picture.line(DIM, &format!("{:<30} {:>7} {:>10}  {:<17} {}", "WORKER", "ACTIVE", "PROCESSED", "LOAD", "SOFTWARE"));
    for worker in workers.iter().take(shown) {
        let color = if worker.is_alive(seconds) { GREEN } else { RED };
        picture.line(color, &worker_row(worker));
    }
    picture.line(PLAIN, "");
    picture.line(DIM, &task_row(size.columns, "UUID", "TASK", "WORKER", "TIME", "STATE"));
    if let Some(silence) = silence(state, alive) {
        picture.line(YELLOW, silence);
    }
    for task in state.latest_tasks(room.saturating_sub(shown)) {
        picture.line(color_of(&task.state), &row_of(task, size.columns));
    }
    picture.finish()
}

/// Why there is nothing to see, and what to do.
fn silence(state: &State, alive: usize) -> Option<&'static str> {
    match (state.latest_tasks(1).is_empty(), alive) {
        (false, _) => None,
        (true, 0) => Some("no worker was heard of: start one with the same broker and virtual host"),
        (true, _) => {
            Some("no task was announced: none was sent, or the workers' events are off (-E, control enable_events)")
        }
    }
}

fn worker_row(worker: &Worker) -> String {
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let load = worker.loadavg.map_or_else(String::new, |[one, five, fifteen]| format!("{one} {five} {fifteen}"));
    let software = format!("{} {}", worker.sw_ident, worker.sw_ver);
    let name = cut(&worker.hostname, 30);
    format!("{name:<30} {:>7} {:>10}  {load:<17} {software}", count(worker.active), count(worker.processed))
}

fn row_of(task: &Task, columns: usize) -> String {
    let time = DateTime::from_timestamp(task.timestamp as i64, 0)
        .map_or_else(String::new, |time| time.format("%H:%M:%S").to_string());
    let name = task.name.as_deref().unwrap_or("?");
    let worker = task.worker.as_deref().unwrap_or("-");
    task_row(columns, &task.uuid, name, worker, &time, task.state.as_str())
}

/// The name of the task and its worker share what the columns of known width leave.
fn task_row(columns: usize, uuid: &str, task: &str, worker: &str, time: &str, state: &str) -> String {
    let left = columns.saturating_sub(UUID + TIME + STATE + 4);
    let (task_width, worker_width) = (left.div_ceil(2).max(8), (left / 2).max(8));
    format!(
        "{:<UUID$} {:<task_width$} {:<worker_width$} {time:<TIME$} {:<STATE$}",
        cut(uuid, UUID),
        cut(task, task_width),
        cut(worker, worker_width),
        cut(state, STATE)
    )
}

fn color_of(state: &protocol::State) -> &'static str {
    use celeriac::protocol::State;
    match state {
        State::Success => GREEN,
        State::Failure | State::Retry | State::Rejected => RED,
        State::Revoked => MAGENTA,
        State::Started => YELLOW,
        _ => PLAIN,
    }
}

/// At most so many characters; what is cut shows it.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Lines that fit the screen.
struct Picture {
    size: Size,
    rows: usize,
    out: String,
}

impl Picture {
    fn new(size: Size) -> Self {
        Self { size, rows: 0, out: "\x1b[H".to_owned() }
    }

    fn line(&mut self, style: &str, text: &str) {
        if self.rows >= self.size.rows {
            return;
        }
        if self.rows > 0 {
            self.out.push_str("\r\n");
        }
        self.rows += 1;
        // Names come from outside: nothing in them may move the cursor.
        let text: String = text.chars().filter(|character| !character.is_control()).take(self.size.columns).collect();
        self.out.push_str(style);
        self.out.push_str(text.trim_end());
        if !style.is_empty() {
            self.out.push_str("\x1b[0m");
        }
        self.out.push_str("\x1b[K");
    }

    fn finish(mut self) -> String {
        self.out.push_str("\x1b[J");
        self.out
    }
}

#[cfg(test)]
mod tests {
    use celeriac::protocol::event::{Event, EventBody, TaskReceived, WorkerStatus};

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-22T19:06:16Z".parse().unwrap()
    }

    fn state() -> State {
        let mut state = State::default();
        let seconds = now().timestamp() as f64;
        let event = |body| Event {
            hostname: "w1@host".into(),
            utcoffset: 0.0,
            pid: 1,
            clock: Some(1),
            timestamp: seconds,
            body,
        };
        let status = WorkerStatus {
            freq: 2.0,
            active: Some(3),
            processed: Some(40),
            loadavg: Some([2.04, 1.42, 0.88]),
            sw_ident: "py-celery".into(),
            sw_ver: "5.7.0".into(),
            sw_sys: "Linux".into(),
        };
        state.apply(&event(EventBody::WorkerHeartbeat(status)), seconds);
        let received = TaskReceived {
            uuid: "6107723e-7f8f-4045-adb7-439178c096b2".into(),
            name: "proj.\x1b[2Jadd".into(),
            ..TaskReceived::default()
        };
        state.apply(&event(EventBody::TaskReceived(Box::new(received))), seconds);
        state
    }

    fn picture(columns: usize, rows: usize) -> Vec<String> {
        let drawn = draw(&state(), "amqp://guest@h:5672//", now(), Size { columns, rows });
        let escapes = ["\x1b[H", "\x1b[J", "\x1b[K", "\x1b[0m", BOLD, DIM, GREEN];
        let plain = escapes.iter().fold(drawn, |text, escape| text.replace(escape, ""));
        plain.split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn workers_and_tasks_are_shown() {
        let lines = picture(120, 24);
        assert_eq!(lines[0], "events of amqp://guest@h:5672//   19:06:16   ^C: quit");
        assert_eq!(lines[1], "events: 2  tasks: 1  workers: 1/1");
        assert!(lines[4].starts_with("w1@host"), "{lines:#?}");
        assert!(lines[4].contains("      3         40  2.04 1.42 0.88    py-celery 5.7.0"), "{lines:#?}");
        assert!(lines[7].starts_with("6107723e-7f8f-4045-adb7-439178c096b2 proj.[2Jadd"), "{lines:#?}");
        assert!(lines[7].ends_with("19:06:16 RECEIVED"), "{lines:#?}");
    }

    #[test]
    fn who_sees_nothing_is_told_why() {
        let mut state = State::default();
        assert!(silence(&state, 0).unwrap().starts_with("no worker"));
        assert!(silence(&state, 1).unwrap().starts_with("no task"));
        let started = EventBody::TaskStarted { uuid: "a".into() };
        let (hostname, clock) = ("w@host".into(), Some(1));
        state.apply(&Event { hostname, utcoffset: 0.0, pid: 7, clock, timestamp: 1.0, body: started }, 1.0);
        assert_eq!(silence(&state, 1), None);
    }

    #[test]
    fn nothing_goes_beyond_the_screen_and_no_name_moves_the_cursor() {
        for (columns, rows) in [(20, 3), (1, 1), (80, 6), (200, 50)] {
            let lines = picture(columns, rows);
            assert!(lines.len() <= rows, "{lines:#?}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{lines:#?}");
            assert!(!lines.iter().any(|line| line.contains('\x1b')), "{lines:#?}");
        }
    }
}
