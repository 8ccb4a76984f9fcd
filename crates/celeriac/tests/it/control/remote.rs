//! Asks workers and reads what they say.

use std::time::Duration;

use celeriac::control::{Client, Command};
use celeriac::protocol::pidbox::Reply;
use celeriac::{App, Worker, WorkerBuilder};
use serde_json::Value;
use testkit::Vhost;

use crate::worker::setup::{SOON, Serving};
use crate::worker::tasks::{Log, register};

/// Longer than any worker takes to answer, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// For those who do not answer.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// Directs the workers of an application.
#[derive(Clone)]
pub(crate) struct Remote(pub(crate) Client);

impl Remote {
    pub(crate) fn new(app: &App) -> Self {
        Self(Client::new(app.broker().clone()))
    }

    /// Once these workers answer.
    pub(crate) async fn of(app: &App, nodes: &[&str]) -> Self {
        let remote = Self::new(app);
        for node in nodes {
            testkit::eventually(SOON, async || !remote.all(Command::ping().to([*node]), SILENCE).await.is_empty())
                .await;
        }
        remote
    }

    /// The value of the one reply that there is.
    pub(crate) async fn ask(&self, command: Command) -> Value {
        let shown = format!("{command:?}");
        let mut replies = self.0.call_for(command, PATIENCE, Some(1)).await.unwrap();
        let reply = replies.next().await.unwrap_or_else(|| panic!("no reply to {shown}"));
        value(&reply)
    }

    /// All replies by node.
    pub(crate) async fn all(&self, command: Command, patience: Duration) -> Vec<(String, Value)> {
        let mut replies = self.0.call(command, patience).await.unwrap().collect().await;
        replies.sort_by(|a, b| a.node.cmp(&b.node));
        replies.iter().map(|reply| (reply.node.clone(), value(reply))).collect()
    }

    /// The names of those who answer.
    pub(crate) async fn nodes(&self, command: Command, expected: usize) -> Vec<String> {
        let replies = self.0.call_for(command, PATIENCE, Some(expected)).await.unwrap().collect().await;
        let mut nodes: Vec<_> = replies.into_iter().map(|reply| reply.node).collect();
        nodes.sort();
        nodes
    }
}

fn value(reply: &Reply) -> Value {
    serde_json::from_str(reply.value.as_str()).unwrap()
}

/// Our worker `w@test`, with the tasks of the worker's tests, in a virtual host that the test can look into.
pub(crate) async fn serve(vhost: &Vhost, configure: impl FnOnce(WorkerBuilder<Log>) -> WorkerBuilder<Log>) -> Serving {
    let backend = format!("memory://{}", vhost.name());
    let app = App::builder().broker(vhost.amqp_url()).backend(backend).build().await.unwrap();
    let log = Log::default();
    let builder = register(Worker::builder(app.clone()).hostname("w@test").mingle(false), &log);
    Serving::start(app, configure(builder).build().unwrap(), log)
}
