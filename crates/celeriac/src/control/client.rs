//! Sends commands and collects what the workers answer (`kombu/pidbox.py`, `Mailbox`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::command::Command;
use super::mailbox;
use crate::broker::{Broker, BrokerError, ConsumeOptions, Delivery, Publication, Subscription};
use crate::clock::{self, LamportClock};
use crate::protocol::pidbox::{CONTROL_EXCHANGE, REPLY_EXCHANGE, Reply, ReplyTo, Request, reply_queue};

/// Sends commands to the workers of a broker. Cloning it is cheap.
///
/// ```no_run
/// # use std::{sync::Arc, time::Duration};
/// # use celeriac::App;
/// use celeriac::control::{Client, Command, Matcher};
///
/// # async fn example(app: App) -> Result<(), celeriac::broker::BrokerError> {
/// let client = Client::new(Arc::clone(app.broker()));
/// let command = Command::active(true).matching("celery@web-*", Matcher::Glob);
/// for reply in client.call(command, Duration::from_secs(1)).await?.collect().await {
///     println!("{} runs {}", reply.node, reply.value);
/// }
/// client.cast(Command::terminate(["0b2f6a1c-8f2e-4f43-9d5a-0f1f2b1d7c11"])).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    broker: Arc<dyn Broker>,
    clock: LamportClock,
}

impl Client {
    /// A client with a logical clock of its own. [`App::broker`](crate::App::broker) gives the broker.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self::with_clock(broker, LamportClock::default())
    }

    /// For a node that has a logical clock already.
    #[must_use]
    pub fn with_clock(broker: Arc<dyn Broker>, clock: LamportClock) -> Self {
        Self { broker, clock }
    }

    /// Sends a command and wants no reply.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn cast(&self, command: Command) -> Result<(), BrokerError> {
        self.publish(command.into_request()).await
    }

    /// Sends a command and asks for replies, of which there are as many as workers it is meant for. `patience` is how
    /// long to wait for the first, and after each for the next.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn call(&self, command: Command, patience: Duration) -> Result<Replies, BrokerError> {
        let limit = command.destinations();
        self.call_for(command, patience, limit).await
    }

    /// As [`call`](Self::call), but satisfied with so many replies.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn call_for(
        &self,
        command: Command,
        patience: Duration,
        limit: Option<usize>,
    ) -> Result<Replies, BrokerError> {
        self.ask(command, patience, limit).await
    }

    async fn ask(&self, command: Command, patience: Duration, limit: Option<usize>) -> Result<Replies, BrokerError> {
        let (oid, ticket) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let mut request = command.into_request();
        request.ticket = Some(ticket.clone());
        request.reply_to = Some(ReplyTo { exchange: REPLY_EXCHANGE.to_owned(), routing_key: oid.clone() });
        request.expires = Some(clock::unix_seconds() + patience.as_secs_f64());

        self.broker.declare(&mailbox::reply_mailbox(&oid)).await?;
        let options = ConsumeOptions { queue: reply_queue(&oid), no_ack: true, ..ConsumeOptions::default() };
        let subscription = self.broker.consume(options).await?;
        self.publish(request).await?;
        Ok(Replies {
            subscription,
            ticket,
            clock: self.clock.clone(),
            patience,
            deadline: Instant::now() + patience,
            left: limit.unwrap_or(MAX_REPLIES),
        })
    }

    /// No worker is no error, and nothing that comes back: the client of AMQP logs such messages with their bodies.
    async fn publish(&self, mut request: Request) -> Result<(), BrokerError> {
        self.broker.declare(&mailbox::control_exchange()).await?;
        request.clock = i64::try_from(self.clock.forward()).ok();
        let publication = Publication {
            exchange: CONTROL_EXCHANGE.to_owned(),
            routing_key: String::new(),
            mandatory: false,
            message: request.to_message(),
        };
        self.broker.publish(publication).await
    }
}

/// More workers than one broker serves.
const MAX_REPLIES: usize = 10_000;

/// The replies to one command, as they arrive. Its queue goes away with it.
pub struct Replies {
    subscription: Subscription,
    ticket: String,
    clock: LamportClock,
    patience: Duration,
    deadline: Instant,
    left: usize,
}

impl Replies {
    /// The next reply; `None` when there were as many as expected, or when none came for as long as the caller has
    /// patience.
    pub async fn next(&mut self) -> Option<Reply> {
        while self.left > 0 {
            let delivery = timeout_at(self.deadline, self.subscription.deliveries.recv()).await.ok()??;
            if let Some(reply) = self.read(&delivery) {
                self.left -= 1;
                self.deadline = Instant::now() + self.patience;
                return Some(reply);
            }
        }
        None
    }

    /// All replies.
    pub async fn collect(mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(reply) = self.next().await {
            replies.push(reply);
        }
        replies
    }

    fn read(&self, delivery: &Delivery) -> Option<Reply> {
        let reply = match Reply::decode(&delivery.message) {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(%error, "a reply of remote control cannot be read");
                return None;
            }
        };
        self.clock.adjust(reply.clock.and_then(|clock| clock.try_into().ok()).unwrap_or(0));
        // A worker that says no ticket is one of an old Celery; this queue is for one command only.
        reply.ticket.as_ref().is_none_or(|ticket| *ticket == self.ticket).then_some(reply)
    }
}
