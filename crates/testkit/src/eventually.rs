//! Waiting for something that becomes true, with a bound.

use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_millis(20);

/// Asks `check` again and again until it has an answer, and panics at the caller's line when `timeout` is over.
///
/// The answer is `true`, `Some(value)` or `Ok(value)`; the panic shows the last error.
#[track_caller]
pub fn eventually<F, Fut>(timeout: Duration, check: F) -> impl Future<Output = <Fut::Output as Observation>::Value>
where
    F: FnMut() -> Fut, // not `AsyncFnMut`: a future that awaits one can't be proven `Send`
    Fut: Future<Output: Observation>,
{
    poll_until(timeout, check, Location::caller())
}

async fn poll_until<F, Fut>(
    timeout: Duration,
    mut check: F,
    caller: &'static Location<'static>,
) -> <Fut::Output as Observation>::Value
where
    F: FnMut() -> Fut,
    Fut: Future<Output: Observation>,
{
    let deadline = Instant::now() + timeout;
    let mut last = "the first look has not ended".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, check()).await.map(Observation::settled) {
            Ok(Ok(value)) => return value,
            Ok(Err(seen)) => last = seen,
            Err(_) => {}
        }
        assert!(Instant::now() < deadline, "at {caller}: not within {timeout:?}; last seen: {last}");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What a look at the world can say: settled, or not yet (and what was seen instead).
pub trait Observation {
    /// What is known once it is settled.
    type Value;

    /// `Err` with a description while it is not.
    fn settled(self) -> Result<Self::Value, String>;
}

impl Observation for bool {
    type Value = ();

    fn settled(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".to_owned()) }
    }
}

impl<T> Observation for Option<T> {
    type Value = T;

    fn settled(self) -> Result<T, String> {
        self.ok_or_else(|| "None".to_owned())
    }
}

impl<T, E: Debug> Observation for Result<T, E> {
    type Value = T;

    fn settled(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}
