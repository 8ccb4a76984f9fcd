//! `events --dump`, Celery's and ours side by side: what both print about workers of both kinds.

use std::process::Command;
use std::time::Duration;

use regex_lite::Regex;
use testkit::Process;

use super::worker::{OURS, PYTHON, Twin};

const SOON: Duration = Duration::from_secs(60);

/// Both programs, while they print.
pub(super) struct Dumps {
    celery: Process,
    billing: Process,
}

impl Dumps {
    /// Once both have heard of the worker that is there: they ask for a heartbeat, so they listen.
    pub(super) async fn start(environment: &[(String, String)]) -> Self {
        let start = |program: &std::path::Path| {
            let mut command = Command::new(program);
            command.args(["-A", "twin", "events", "--dump"]).current_dir(super::directory());
            command.envs(environment.iter().cloned()).env("PYTHONUNBUFFERED", "1");
            Process::spawn("events --dump", command)
        };
        let celery = start(&testkit::python().with_file_name("celery"));
        let mut dumps = Self { celery, billing: start(testkit::billing_binary().await) };
        for dump in [&mut dumps.celery, &mut dumps.billing] {
            dump.wait_for_line("-> evdump: starting capture...", SOON).await;
            dump.wait_for_line("heartbeat", SOON).await;
        }
        dumps
    }

    /// Both have printed the same from our worker's beginning to the end of both. `calls` are the ids of tasks that were
    /// called alike: what was printed of those is the same, too.
    pub(super) async fn agree(mut self, calls: &[[String; 2]]) {
        let mut printed = Vec::new();
        for dump in [&mut self.celery, &mut self.billing] {
            for twin in [PYTHON, OURS] {
                dump.wait_for_line("] shutdown: ", SOON).await;
                let gone = Regex::new(&format!(r"(?m)^{} .*\] shutdown: .*$", twin.node)).unwrap();
                testkit::eventually(SOON, async || gone.is_match(&dump.output())).await;
            }
            printed.push(records(&dump.output()));
        }
        let [celerys, ours] = [&printed[0], &printed[1]];
        assert_eq!(received(ours), received(celerys));
        for kind in ["started", "sent", "received", "succeeded", "failed", "retried", "rejected", "revoked", "shutdown"]
        {
            assert!(celerys.iter().any(|record| record.contains(&format!("{kind}:"))), "{kind}: {celerys:#?}");
        }
        let unregistered = |twin: Twin| {
            let is_one =
                |record: &&String| record.starts_with(twin.node) && record.contains("NotRegistered('t.unheard_of')");
            celerys.iter().filter(is_one).count()
        };
        assert_eq!((unregistered(PYTHON), unregistered(OURS)), (2, 2), "{celerys:#?}");
        for [pythons, rusts] in calls {
            let of_python = of_task(celerys, pythons, PYTHON);
            assert!(!of_python.is_empty(), "{pythons}");
            assert_eq!(of_task(celerys, rusts, OURS), of_python);
        }
    }
}

/// The events from our worker's first to the last; a traceback has lines of its own. Heartbeats are left out: who listens
/// from another moment on hears others.
fn records(output: &str) -> Vec<String> {
    let begins = Regex::new(r"(?m)^\S+ \[\d{4}-\d\d-\d\d ").unwrap();
    let starts: Vec<_> = begins.find_iter(output).map(|begin| begin.start()).collect();
    let ends = starts.iter().copied().skip(1).chain([output.len()]);
    let records = starts.iter().zip(ends).map(|(start, end)| output[*start..end].trim_end().to_owned());
    let records = records.skip_while(|record| !(record.starts_with(OURS.node) && record.contains("] started:")));
    records.filter(|record| !record.contains("] heartbeat:")).collect()
}

/// In the order of each who has told, but for when it was heard, and the logical clock of the listener, which stands in
/// for that of a client.
fn received(records: &[String]) -> Vec<String> {
    let (heard, clock) = (Regex::new(r"local_received=[\d.]+").unwrap(), Regex::new(r"clock=\d+").unwrap());
    let received = |record: &String| {
        let record = heard.replace(record, "local_received");
        if record.contains("] task sent:") { clock.replace(&record, "clock").into_owned() } else { record.into_owned() }
    };
    let mut records: Vec<_> = records.iter().map(received).collect();
    records.sort_by(|a, b| a.split(' ').next().cmp(&b.split(' ').next()));
    records
}

/// What was printed of a task, but for what is another each time.
fn of_task(records: &[String], id: &str, twin: Twin) -> Vec<String> {
    let others = [
        (r"^\S+ \[[^\]]*\]", "NODE"),
        (r"(local_received|clock|runtime|pid)=[\d.e-]+", "$1"),
        (r"(?s)traceback=.*, utcoffset", "traceback, utcoffset"),
        // A retry at once has no ETA in Celery, and one that is now with us.
        (r"(eta|expires)=[^ ]*", "$1"),
    ];
    let normal = |record: &String| {
        let record = record.replace(id, "ID").replace(twin.queue, "QUEUE");
        others.iter().fold(record, |record, (pattern, name)| {
            Regex::new(pattern).unwrap().replace_all(&record, *name).into_owned()
        })
    };
    // What is sent is told by the client; Celery's worker is one, too, when it retries.
    let is_told = |record: &&String| record.contains(id) && !record.contains("] task sent:");
    let mut all: Vec<_> = records.iter().filter(is_told).map(normal).collect();
    // A retry may be received before the worker tells that it was sent.
    all.sort();
    all
}
