//! The live view: a picture of the cluster, drawn again and again over itself.

use std::io::{self, Write as _};
use std::time::Duration;

use celeriac::clock;
use celeriac::events::{Receiver, State};
use terminal_size::{Height, Width, terminal_size};
use tokio::time::{MissedTickBehavior, interval};

use super::screen::{Size, draw};
use crate::celery::failure::Failure;

/// Where the size of the terminal is not known.
const USUAL: Size = Size { columns: 80, rows: 24 };

pub(super) async fn run(mut receiver: Receiver, address: &str, frequency: Duration) -> Result<(), Failure> {
    let mut state = State::default();
    let mut ticks = interval(frequency);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let _screen = Screen::open()?;
    loop {
        tokio::select! {
            events = receiver.events() => {
                let Some(events) = events else { return Ok(()) };
                let now = clock::unix_seconds();
                events.iter().for_each(|event| state.apply(event, now));
            }
            _ = ticks.tick() => {
                let picture = draw(&state, address, clock::now(), size());
                let mut out = io::stdout().lock();
                out.write_all(picture.as_bytes())?;
                out.flush()?;
            }
        }
    }
}

fn size() -> Size {
    terminal_size().map_or(USUAL, |(Width(columns), Height(rows))| Size { columns: columns.into(), rows: rows.into() })
}

/// The terminal's other screen; what was on it before is back afterwards.
struct Screen;

impl Screen {
    fn open() -> io::Result<Self> {
        let mut out = io::stdout().lock();
        out.write_all(b"\x1b[?1049h\x1b[?25l")?;
        out.flush()?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // Nobody is left to tell.
        let _ = out.write_all(b"\x1b[?25h\x1b[?1049l");
        let _ = out.flush();
    }
}
