//! The same as a picture: bars, in colours that read on white and on black.

use std::fmt::Write as _;

use super::tables::{SENDERS, executors, number};
use crate::figures::Figures;
use crate::job::{Kind, Worker};
use crate::plan::STARTED;

const WIDTH: f64 = 880.0;
/// Where bars begin: names stand left of it.
const LEFT: f64 = 250.0;
/// How long the longest bar is; figures stand right of it.
const LONGEST: f64 = 540.0;
const BAR: f64 = 11.0;
const STYLE: &str = "
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .name { text-anchor: end }
  .figure { font-size: 11px; fill: #59636e; font-variant-numeric: tabular-nums }
  .paper { fill: #ffffff }
  .classic { fill: #d4a72c }
  .quorum { fill: #2f81f7 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .figure { fill: #9198a1 }
    .paper { fill: #0d1117 }
  }
";

/// A name and what was measured on classic and on quorum queues.
type Row = (String, [Option<f64>; 2]);

pub fn draw(figures: &Figures) -> String {
    let mut body = String::new();
    let mut y = 28.0;
    legend(&mut body, y);
    for (title, rows, decimals) in panels(figures) {
        y = panel(&mut body, y, title, &rows, decimals);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"celeriac beside other task queues\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n{body}</svg>\n",
        height = y + 16.0,
    )
}

fn panels(figures: &Figures) -> [(&'static str, Vec<Row>, usize); 6] {
    let both = |name: String, measure: &dyn Fn(Kind) -> Option<f64>| (name, Kind::ALL.map(measure));
    let sending = SENDERS.map(|(sender, name)| both(name.to_owned(), &|kind| figures.sending(sender, kind)));
    let rate = |worker, kind, processes, results| Some(figures.executing(worker, kind, processes, results)?.rate);
    let executing = executors().into_iter();
    let executing = executing.map(|(worker, results, name)| both(name, &|kind| rate(worker, kind, 1, results)));
    let full = Worker::Celeriac { events: true };
    let processes = [1, 2, 4].map(|n| both(format!("celeriac × {n}"), &|kind| rate(full, kind, n, true)));
    let late = |kind| figures.lateness(full, kind);
    let late_celery = |kind| Some(figures.lateness_of_celery(kind)?.1);
    let latency = [
        both("celeriac, p50".to_owned(), &|kind| Some(late(kind)?.p50 / 1e3)),
        both("celeriac, p99".to_owned(), &|kind| Some(late(kind)?.p99 / 1e3)),
        both("Celery, p50".to_owned(), &|kind| Some(late_celery(kind)?.p50 / 1e3)),
        both("Celery, p99".to_owned(), &|kind| Some(late_celery(kind)?.p99 / 1e3)),
    ];
    let memory = [
        both("celeriac".to_owned(), &|kind| Some(late(kind)?.resident)),
        both("Celery".to_owned(), &|kind| Some(late_celery(kind)?.resident)),
    ];
    let startup = STARTED.map(|worker| {
        let name = match worker {
            Worker::Celery(pool) => format!("Celery, {pool}"),
            Worker::RustyCelery => "rusty-celery".to_owned(),
            _ => "celeriac".to_owned(),
        };
        (name, [figures.startup(worker), None])
    });
    [
        ("Sending, tasks a second", sending.to_vec(), 0),
        ("Executing with one worker process, tasks a second", executing.collect(), 0),
        ("Executing with several, events and results, tasks a second", processes.to_vec(), 0),
        ("Latency from send to start at half load, milliseconds", latency.to_vec(), 2),
        ("Resident memory under half load, megabytes", memory.to_vec(), 0),
        ("From the start of the process to the end of its first task, milliseconds", startup.to_vec(), 0),
    ]
}

fn legend(body: &mut String, y: f64) {
    for (kind, x) in Kind::ALL.into_iter().zip([LEFT, LEFT + 130.0]) {
        let name = kind.name();
        let _ = writeln!(
            body,
            "<rect class=\"{name}\" x=\"{x}\" y=\"{}\" width=\"11\" height=\"11\" rx=\"2\"/>\
             <text x=\"{}\" y=\"{y}\">{name} queue</text>",
            y - 10.0,
            x + 18.0,
        );
    }
}

/// Draws from `y` down; answers where it ends.
fn panel(body: &mut String, y: f64, title: &str, rows: &[Row], decimals: usize) -> f64 {
    let most =
        rows.iter().flat_map(|(_, values)| values.iter().flatten()).fold(0.0_f64, |most, &value| most.max(value));
    let mut y = y + 34.0;
    let _ = writeln!(body, "<text class=\"title\" x=\"20\" y=\"{y}\">{title}</text>");
    y += 12.0;
    for (name, values) in rows {
        let bars = Kind::ALL.into_iter().zip(values).filter_map(|(kind, value)| Some((kind, (*value)?)));
        let bars: Vec<_> = bars.collect();
        let height = BAR * bars.len() as f64;
        let _ = writeln!(
            body,
            "<text class=\"name\" x=\"{}\" y=\"{:.1}\">{name}</text>",
            LEFT - 10.0,
            y + height / 2.0 + 4.5
        );
        for (n, (kind, value)) in bars.into_iter().enumerate() {
            let top = y + BAR * n as f64;
            let length = (value / most * LONGEST).max(1.0);
            let figure = if decimals == 0 { number(Some(value)) } else { format!("{value:.decimals$}") };
            let _ = writeln!(
                body,
                "<rect class=\"{}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{}\" rx=\"1.5\"/>\
                 <text class=\"figure\" x=\"{:.1}\" y=\"{:.1}\">{figure}</text>",
                kind.name(),
                BAR - 1.0,
                LEFT + length + 6.0,
                top + BAR - 1.5,
            );
        }
        y += height.max(BAR * 1.5) + 6.0;
    }
    y
}
