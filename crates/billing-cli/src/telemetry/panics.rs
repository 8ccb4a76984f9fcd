//! A panic is one issue. The panic hook tells of it first, from where it happened and with the stack; what happened in is added
//! here. Whoever catches it says that something has failed by it, which is not told a second time.

use sentry::protocol::Event;

use super::reports;

/// The exception type of a task that has failed by a panic, as `celeriac` names it.
const TASK: &str = "Panic";

/// The report of a panic with what it happened in; any other as it is. Called in the panic hook, where the panic is.
pub(super) fn placed(mut event: Event<'static>) -> Event<'static> {
    let is_panic =
        event.exception.iter().any(|exception| exception.mechanism.as_ref().is_some_and(|how| how.ty == "panic"));
    if is_panic {
        for (name, value) in reports::tags_here() {
            event.tags.entry(name.to_owned()).or_insert(value);
        }
    }
    event
}

/// Whether an error only says that something was ended by a panic, by the type of a task's failure and by its words: those of
/// `tokio::task::JoinError` are `task 12 panicked with message "…"`.
pub(super) fn was_told<'a>(exc_type: Option<&str>, mut words: impl Iterator<Item = &'a str>) -> bool {
    exc_type == Some(TASK) || words.any(|words| words.contains("task ") && words.contains(" panicked"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use celeriac::testing::TestApp;
    use celeriac::{App, Context, Task, TaskResult};
    use sentry::integrations::panic::PanicIntegration;
    use sentry::protocol::EnvelopeItem;
    use sentry::{Client, ClientOptions, Envelope, Hub, Scope, Transport};
    use serde::{Deserialize, Serialize};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::scrub;

    #[derive(Task, Serialize, Deserialize)]
    #[task(name = "t.panics")]
    struct Panics {}

    async fn panics(_: Panics, _: Context) -> TaskResult<()> {
        tokio::spawn(async { panic!("within 4242424242424242") }).await?;
        Ok(())
    }

    #[derive(Task, Serialize, Deserialize)]
    #[task(name = "t.falls")]
    struct Falls {}

    async fn falls(_: Falls, _: Context) -> TaskResult<()> {
        panic!("of 203.0.113.7")
    }

    #[derive(Default)]
    struct Told(Mutex<Vec<Event<'static>>>);

    impl Transport for Told {
        fn send_envelope(&self, envelope: Envelope) {
            let events = envelope.items().filter_map(|item| match item {
                EnvelopeItem::Event(event) => Some((**event).clone()),
                _ => None,
            });
            self.0.lock().expect("nobody panics here").extend(events);
        }
    }

    fn told(work: impl AsyncFnOnce()) -> Vec<Event<'static>> {
        let told = Arc::new(Told::default());
        let options = ClientOptions::new().dsn("http://public@127.0.0.1:9/1").transport(Arc::clone(&told));
        let options = options.before_send(|event| Some(scrub::scrubbed(placed(event))));
        let client = Arc::new(Client::from(options.add_integration(PanicIntegration::new())));
        let hub = Arc::new(Hub::new(Some(client), Arc::new(Scope::default())));
        let log = tracing_subscriber::registry().with(reports::Reports::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Hub::run(hub, || tracing::subscriber::with_default(log, || runtime.block_on(work())));
        let told = told.0.lock().expect("nobody panics here");
        told.clone()
    }

    #[test]
    fn a_task_that_panics_is_one_issue_that_says_which_task_it_was_and_where() {
        let events = told(async || {
            let test = TestApp::with(App::builder()).await;
            test.app().send(Falls {}).await.unwrap();
            test.run_until_idle(|worker| worker.task(falls)).await;
        });
        let [event] = &events[..] else { panic!("one, not {events:#?}") };
        assert_eq!(event.tags.get("task").map(String::as_str), Some("t.falls"));
        assert!(event.tags.contains_key("task_id"), "{:?}", event.tags);
        let exception = event.exception.iter().next().expect("what it was");
        assert_eq!(exception.value.as_deref(), Some("of …"), "and it is scrubbed");
        assert!(exception.stacktrace.is_some() || event.stacktrace.is_some() || !event.threads.is_empty());
    }

    #[test]
    fn one_that_is_caught_by_who_waits_for_it_is_not_told_again() {
        let events = told(async || {
            let caught = tokio::spawn(async { panic!("alone") }).await.unwrap_err();
            tracing::error!(error = %caught, "internal error");
            tracing::error!(error = "not that", "internal error");
        });
        let words: Vec<_> = events
            .iter()
            .map(|event| event.exception.iter().filter_map(|e| e.value.clone()).collect::<String>())
            .collect();
        assert_eq!(events.len(), 2, "{words:?}");
        assert_eq!(words[0], "alone");
    }

    /// Whose body has only waited for what panicked fails by another error, and is told of once all the same.
    #[test]
    fn what_a_task_has_spawned_and_that_panics_is_one_issue_too() {
        let events = told(async || {
            let test = TestApp::with(App::builder()).await;
            test.app().send(Panics {}).await.unwrap();
            test.run_until_idle(|worker| worker.task(panics)).await;
        });
        assert_eq!(events.len(), 1, "{events:#?}");
        assert!(!format!("{events:?}").contains("4242424242424242"));
    }
}
