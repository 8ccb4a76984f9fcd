//! Our command line beside Celery's: the same lines, to a worker of Celery's and to one of ours, print the same and end
//! alike.

mod dump;
mod lines;
mod worker;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use regex_lite::Regex;
use serde_json::Value;
use testkit::{CeleryCommandLine, Said};
use tokio::process::Command;

use self::dump::Dumps;
use self::worker::{OURS, PYTHON, Twin, Twins};

/// Both command lines.
struct CommandLines {
    celery: CeleryCommandLine,
    environment: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Celery,
    Billing,
}

impl CommandLines {
    async fn start(twins: &Twins) -> Self {
        let environment = twins.environment();
        let celery = CeleryCommandLine::load(&directory(), "twin", environment.clone()).await;
        Self { celery, environment }
    }

    async fn run(&mut self, program: Program, line: &str) -> Said {
        self.run_with(program, line, "").await
    }

    async fn run_with(&mut self, program: Program, line: &str, input: &str) -> Said {
        let words = split(line);
        match program {
            Program::Celery => self.celery.run_with(&words, input).await,
            Program::Billing => billing(&words, &self.environment, input).await,
        }
    }

    /// What both say at the same time; they must say the same.
    async fn agree(&mut self, line: &str) -> Said {
        let words = split(line);
        let (celery, ours) = tokio::join!(self.celery.run(&words), billing(&words, &self.environment, ""));
        assert_eq!(same(&ours), same(&celery), "{line}\n--- ours {ours:#?}\n--- Celery's {celery:#?}");
        // Where Celery ends with a traceback we say its last line; how wrong lines are explained is each one's own.
        let is_told = celery.complaints.starts_with("Traceback") && !celery.complaints.contains("OperationalError");
        if celery.status == 1 && is_told {
            assert_eq!(last_line(&ours), last_line(&celery), "{line}");
        }
        ours
    }
}

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/celery")
}

/// Words are separated by blanks; none has one inside.
fn split(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

async fn billing(words: &[&str], environment: &[(String, String)], input: &str) -> Said {
    let mut command = Command::new(testkit::billing_binary().await);
    command.args(["-A", "twin"]).args(words).envs(environment.iter().cloned()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without having read.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { status: output.status.code().unwrap(), printed: text(output.stdout), complaints: text(output.stderr) }
}

/// What has to be the same: the exit status, and what was printed but for what is another each time. Replies of several
/// nodes come in any order.
fn same(said: &Said) -> (i32, Vec<String>) {
    let mut lines: Vec<_> = normal(&said.printed).lines().map(str::to_owned).collect();
    if lines.iter().filter(|line| line.contains("NODE: ")).count() > 1 {
        lines.sort();
    }
    (said.status, lines)
}

fn normal(text: &str) -> String {
    let mut text = text.replace(PYTHON.node, "NODE").replace(OURS.node, "NODE");
    text = text.replace(PYTHON.queue, "QUEUE").replace(OURS.queue, "QUEUE");
    for (pattern, name) in [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"\b1\d{9}\.\d+", "TIME"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", "ETA"),
        (r#"(['"]worker_pid['"]: )\d+"#, "${1}PID"),
        (r#"("clock": )\d+"#, "${1}CLOCK"),
        (r"[\d.]+MB", "MEMORY"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn our_command_line_and_celerys_say_the_same_of_workers_of_both_kinds() {
    let mut twins = Twins::start().await;
    let dumps = Dumps::start(&twins.environment()).await;
    twins.start_ours().await;
    let mut programs = CommandLines::start(&twins).await;
    twins.set_events(true).await;
    let calls = results_of_calls(&mut programs).await;
    twins.set_events(false).await;
    twins.make_busy().await;
    for part in [lines::QUESTIONS, lines::COMMANDS, lines::GROWTH] {
        of_each(&mut programs, part).await;
    }
    numbers(&mut programs).await;
    for line in lines::OF_BOTH {
        programs.agree(line).await;
    }
    for line in lines::WRONG {
        let said = programs.agree(line).await;
        assert!(said.status != 0, "{line}");
    }
    queues(&mut programs, &twins).await;
    nobody_there(&mut programs).await;
    twins.set_events(true).await;
    ends(&mut programs, &mut twins).await;
    dumps.agree(&calls).await;
}

/// Both command lines, with workers of both kinds: four times the same. A part leaves behind what it has found.
async fn of_each(programs: &mut CommandLines, part: &[&str]) {
    let mut expected: Vec<Said> = Vec::new();
    for program in [Program::Celery, Program::Billing] {
        for (index, line) in part.iter().enumerate() {
            for twin in [PYTHON, OURS] {
                let said = programs.run(program, &twin.fill(line)).await;
                if expected.len() == index {
                    expected.push(said);
                    continue;
                }
                let expected = &expected[index];
                let shown = format!("{program:?} {line}, {}\n{said:#?}\n--- expected {expected:#?}", twin.node);
                assert_eq!(same(&said), same(expected), "{shown}");
            }
        }
    }
}

/// Calls, and what has become of them. Answers the ids of the same call for each worker.
async fn results_of_calls(programs: &mut CommandLines) -> Vec<[String; 2]> {
    let mut ids: Vec<String> = Vec::new();
    for (call, is_done) in [
        ("call t.add -a [2,3] --queue QUEUE", true),
        (r#"call t.add -a [2] -k {"y":40} --queue QUEUE --expires 60"#, true),
        ("call t.add -a [1,1] --queue QUEUE --countdown 0.2 --serializer json", true),
        ("call t.limited --routing-key QUEUE --exchange QUEUE", true),
        ("call t.fail --queue QUEUE", false),
        (r#"call t.fail -a ["boom"] --queue QUEUE"#, false),
        (r#"call t.fail -a ["it's",402,null,[1.5]] --queue QUEUE"#, false),
        ("call t.unheard_of --queue QUEUE", false),
        ("call t.retry --queue QUEUE", true),
        ("call t.reject --queue QUEUE", false),
        ("call t.add --queue QUEUE", false),
    ] {
        let mut all = Vec::new();
        for program in [Program::Celery, Program::Billing] {
            for twin in [PYTHON, OURS] {
                let called = programs.run(program, &twin.fill(call)).await;
                assert_eq!(called.status, 0, "{program:?} {call} {called:#?}");
                let id = called.printed.trim_end().to_owned();
                assert_eq!(id.len(), 36, "{called:#?}");
                let result = programs.agree(&format!("result {id}")).await;
                assert_eq!(result.status, i32::from(!is_done), "{call}: {result:#?}");
                if !is_done {
                    programs.agree(&format!("result {id} --traceback")).await;
                }
                all.push((same(&result), last_line(&result)));
                // Of a task that is not registered no more is told than its failure, which is printed without an id.
                if !call.contains("unheard_of") {
                    ids.push(id);
                }
            }
        }
        assert!(all.iter().all(|one| *one == all[0]), "{call}: {all:#?}");
    }
    for kind in ["datetime", "date", "decimal", "uuid", "bytes", "big", "infinity", "text", "nothing", "flag", "nested"]
    {
        let called =
            programs.run(Program::Billing, &PYTHON.fill(&format!(r#"call t.rich -a ["{kind}"] --queue QUEUE"#))).await;
        let line = format!("result {}", called.printed.trim_end());
        let said = programs.agree(&line).await;
        assert_eq!(said.status, 0, "{kind}: {said:#?}");
    }
    programs.agree("result unheard-of --traceback").await;
    ids.chunks(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect()
}

/// The exception: a traceback's last line, or all that we say.
fn last_line(said: &Said) -> Option<String> {
    said.complaints.trim_end().lines().last().map(str::to_owned)
}

/// What has numbers that change, and what differs because the workers do: both command lines show each worker alike.
async fn numbers(programs: &mut CommandLines) {
    let digits = Regex::new(r"\d+(\.\d+)?(e-\d+)?").unwrap();
    for line in lines::NUMBERS {
        for twin in [PYTHON, OURS] {
            let line = twin.fill(line);
            let [celery, ours] =
                [programs.run(Program::Celery, &line).await, programs.run(Program::Billing, &line).await];
            let shown = |said: &Said| (said.status, digits.replace_all(&said.printed, "0").into_owned());
            assert_eq!(shown(&ours), shown(&celery), "{line}");
        }
    }
    // What a worker tells, whatever it is.
    let stats = async |programs: &mut CommandLines, twin: Twin| -> Value {
        let said = programs.run(Program::Celery, &twin.fill("inspect stats -j -t 10 -d NODE")).await;
        serde_json::from_str::<Value>(&said.printed).unwrap()[twin.node].take()
    };
    let (pythons, ours) = (stats(programs, PYTHON).await, stats(programs, OURS).await);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&ours), keys(&pythons));
    for part in ["broker", "rusage"] {
        assert_eq!(keys(&ours[part]), keys(&pythons[part]), "{part}");
    }
    for pointer in ["/broker/hostname", "/broker/port", "/broker/virtual_host", "/broker/transport", "/total/t.fail"] {
        assert_eq!(ours.pointer(pointer), pythons.pointer(pointer), "{pointer}");
    }
    // The rest is how a pool of processes is fed.
    for key in ["implementation", "max-concurrency", "processes", "max-tasks-per-child", "timeouts"] {
        assert!(ours["pool"].get(key).is_some() && pythons["pool"].get(key).is_some(), "{key}");
    }
}

/// `purge` and `list bindings`.
async fn queues(programs: &mut CommandLines, twins: &Twins) {
    for (line, input) in [
        ("purge -f -Q parked", ""),
        ("purge -f -Q parked,other", ""),
        ("purge -Q parked", "y\n"),
        ("purge -Q parked,other", "n\n"),
        ("purge -Q parked", ""),
        ("purge -f -Q parked,other -X other", ""),
        ("purge -f -Q parked -X parked", ""),
        ("-q purge -f -Q no_such_queue", ""),
    ] {
        let mut said = Vec::new();
        for program in [Program::Celery, Program::Billing] {
            twins.park(2).await;
            said.push(programs.run_with(program, line, input).await);
        }
        assert_eq!(same(&said[1]), same(&said[0]), "{line}: {said:#?}");
    }

    // Celery's lists the bindings of all virtual hosts.
    let celerys = programs.run(Program::Celery, "list bindings").await;
    let ours = programs.run(Program::Billing, "list bindings").await;
    assert_eq!((ours.status, celerys.status), (0, 0), "{ours:#?} {celerys:#?}");
    assert!(ours.printed.lines().any(|line| line.starts_with("q-ours") && line.contains(" q-ours ")), "{ours:#?}");
    let missing: Vec<_> = ours.printed.lines().filter(|line| !celerys.printed.contains(line)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "{}", celerys.printed);
}

async fn nobody_there(programs: &mut CommandLines) {
    let nowhere = format!("amqp://guest:guest@127.0.0.1:{}//", testkit::free_port());
    for line in ["status", "control heartbeat", "call t.add", "-b nope://x status"] {
        let line = if line.starts_with("-b") { line.to_owned() } else { format!("-b {nowhere} {line}") };
        let said = programs.agree(&line).await;
        assert!(said.status != 0 && !said.complaints.contains("guest:guest"), "{line}: {said:#?}");
    }
}

/// Terminates what runs, and shuts down.
async fn ends(programs: &mut CommandLines, twins: &mut Twins) {
    for twin in [PYTHON, OURS] {
        let id = twin.id("running");
        let line = twin.fill(&format!("control terminate SIGKILL {id} -t 10 -d NODE"));
        let said = programs.run(if twin == PYTHON { Program::Billing } else { Program::Celery }, &line).await;
        assert_eq!(normal(&said.printed), "->  NODE: OK\n        terminate: UUID\n", "{said:#?}");
        let result = programs.agree(&format!("result {id}")).await;
        assert!(result.complaints.ends_with("TaskRevokedError: terminated\n"), "{result:#?}");
    }
    programs.run(Program::Celery, &OURS.fill("control shutdown -t 0.5 -d NODE")).await;
    programs.run(Program::Billing, &PYTHON.fill("control shutdown -t 0.5 -d NODE")).await;
    twins.ended().await;
    let said = programs.agree("status -t 0.3").await;
    assert_eq!((said.status, said.complaints.as_str()), (69, "Error: No nodes replied within time constraint\n"));
}
