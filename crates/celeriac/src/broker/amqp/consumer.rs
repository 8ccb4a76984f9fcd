//! One subscription: a channel of its own on the consumers' connection, opened again whenever it is lost.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lapin::Channel;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::control::{Command, Control, Current};
use super::error::{reason, refusal};
use super::link::{Link, Live};
use super::present::all_there;
use super::stack::{Names, Stack};
use super::topology::{Remembered, ensure, steps};
use super::wire::decode_message;
use crate::broker::backoff::Backoff;
use crate::broker::{BrokerError, ConsumeOptions, Delivery, DeliveryTag, Subscription};

/// Deliveries that wait for the receiver when there is no prefetch count to bound them.
const UNBOUNDED_BUFFER: usize = 1024;

/// Generations of all channels of this process: a tag of one broker is no tag of another either.
static GENERATION: AtomicU64 = AtomicU64::new(1);

struct Consumer {
    link: Link,
    topology: Arc<Remembered>,
    queue: String,
    prefetch: u16,
    names: Names,
    outlet: Outlet,
    commands: mpsc::Receiver<Command>,
    current: Arc<Current>,
}

/// Where deliveries go.
struct Outlet {
    deliveries: mpsc::Sender<Delivery>,
    /// One that the receiver has no room for yet.
    waiting: Option<Delivery>,
}

/// Why a channel is done.
enum End {
    /// The consumer ends with it.
    Closed,
    /// The connection is lost.
    Lost,
    /// Only this channel, or the consumer on it, for this reason.
    Broken(String),
}

/// Why there are no more deliveries.
enum Dry {
    /// Nobody takes them.
    Unwanted,
    /// The broker sends no more, for this reason.
    Ended(String),
}

/// Starts to consume; answers when the broker has accepted the consumer. Dropping the future ends it.
pub(super) async fn start(
    link: Link,
    address: &str,
    topology: Arc<Remembered>,
    options: ConsumeOptions,
) -> Result<Subscription, BrokerError> {
    let refused = |reason| BrokerError::Refused { address: address.to_owned(), reason };
    let names = Names::new(&options).map_err(refused)?;
    let buffer = match options.prefetch {
        0 => UNBOUNDED_BUFFER,
        count => usize::from(count),
    };
    let (deliveries, receiver) = mpsc::channel(buffer);
    let (sender, commands) = mpsc::channel(16);
    let (ready, accepted) = oneshot::channel();
    let current = Arc::<Current>::default();
    let control = Control { no_ack: options.no_ack, current: current.clone(), commands: sender };
    let consumer = Consumer {
        link,
        topology,
        queue: options.queue,
        prefetch: options.prefetch,
        names,
        outlet: Outlet { deliveries, waiting: None },
        commands,
        current,
    };
    tokio::spawn(consumer.run(ready));
    match accepted.await {
        Ok(Ok(())) => Ok(Subscription { deliveries: receiver, control: Arc::new(control) }),
        Ok(Err(reason)) => Err(refused(reason)),
        Err(_) => Err(BrokerError::Closed { address: address.to_owned() }),
    }
}

impl Consumer {
    async fn run(mut self, mut ready: oneshot::Sender<Result<(), String>>) {
        // The first channel decides whether there is a consumer at all.
        let first = tokio::select! {
            first = self.first() => first,
            () = ready.closed() => return,
        };
        let mut end = match first {
            Some(Ok((live, channel, stack))) => {
                if ready.send(Ok(())).is_err() {
                    return;
                }
                self.serve(&live, channel, stack).await
            }
            Some(Err(reason)) => {
                let _ = ready.send(Err(reason));
                return;
            }
            None => return,
        };
        let mut backoff = Backoff::default();
        while !matches!(end, End::Closed) {
            if let End::Broken(why) = end
                && !self.link.is_closed()
            {
                tracing::warn!(queue = self.queue, why, "a consumer was interrupted and starts again");
                let pause = backoff.next();
                if self.idle(sleep(pause)).await.is_none() {
                    break;
                }
            }
            let link = self.link.clone();
            let Some(Some(live)) = self.idle(link.live()).await else { break };
            end = match self.open(&live).await {
                Ok((channel, stack)) => {
                    backoff.reset();
                    self.serve(&live, channel, stack).await
                }
                Err(end) => end,
            };
        }
        self.topology.forget_if_auto_delete(&self.queue);
    }

    /// Connects for the first time: `None` if this broker is closed, the reason if the consumer is refused.
    async fn first(&self) -> Option<Result<(Arc<Live>, Channel, Stack), String>> {
        loop {
            let live = self.link.live().await?;
            match self.open(&live).await {
                Ok((channel, stack)) => return Some(Ok((live, channel, stack))),
                Err(End::Broken(reason)) => return Some(Err(reason)),
                Err(_) => {}
            }
        }
    }

    async fn open(&self, live: &Live) -> Result<(Channel, Stack), End> {
        let opening = async {
            // A queue that is not durable is gone after a restart of the broker. One that is there is bound.
            let own = self.topology.of_queue(&self.queue);
            let channel = if all_there(&live.connection, &own).await? {
                live.connection.create_channel().await?
            } else {
                ensure(&live.connection, &steps(&own).unwrap_or_default()).await?
            };
            let mut stack = Stack::default();
            stack.set(&channel, &self.names, self.prefetch).await?;
            Ok((channel, stack))
        };
        let opened = tokio::select! {
            opened = opening => opened,
            () = live.lost() => return Err(End::Lost),
        };
        match opened {
            Ok(opened) => Ok(opened),
            Err(error) if live.connection.status().connected() => Err(broken(&error)),
            Err(_) => {
                self.link.doubt();
                live.lost().await;
                Err(End::Lost)
            }
        }
    }

    /// Waits for something while there is no channel; `None` if the consumer is to end before that.
    async fn idle<T>(&mut self, something: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(something);
        loop {
            tokio::select! {
                value = &mut something => return Some(value),
                () = self.outlet.deliveries.closed() => return None,
                Some(command) = self.commands.recv() => match command {
                    Command::SetPrefetch(count, done) => {
                        self.prefetch = count;
                        let _ = done.send(());
                    }
                    // Nothing is left to settle: all deliveries went back with their channel.
                    Command::Cancel(done) | Command::Close(done) => {
                        let _ = done.send(());
                        return None;
                    }
                },
            }
        }
    }

    /// Consumes on one channel until it is done.
    async fn serve(&mut self, live: &Live, channel: Channel, mut stack: Stack) -> End {
        let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        *self.current.channel.lock() = Some((generation, channel.clone()));
        self.current.is_active.store(true, Ordering::Relaxed);
        let end = tokio::select! {
            end = self.pump(generation, &channel, &mut stack) => end,
            () = live.lost() => if stack.is_cancelled() { End::Closed } else { End::Lost },
        };
        // What broke is the connection: that is told of once, not by each of its consumers.
        let end = match end {
            End::Broken(_) if !live.connection.status().connected() => End::Lost,
            end => end,
        };
        self.deactivate();
        self.current.channel.lock().take();
        // The broker delivers it again.
        self.outlet.waiting = None;
        if channel.status().connected() && !live.is_lost() {
            // Gives back what is not settled.
            let _ = channel.close(200, "OK".into()).await;
        }
        end
    }

    async fn pump(&mut self, generation: u64, channel: &Channel, stack: &mut Stack) -> End {
        let dry = loop {
            let command = tokio::select! {
                biased;
                Some(command) = self.commands.recv() => command,
                dry = self.outlet.pour(generation, stack) => break dry,
            };
            match command {
                Command::SetPrefetch(count, done) => {
                    self.prefetch = count;
                    let set = if stack.is_cancelled() { Ok(()) } else { stack.set(channel, &self.names, count).await };
                    // If it failed, the consumer starts again with the new count.
                    let _ = done.send(());
                    if let Err(error) = set {
                        return broken(&error);
                    }
                }
                Command::Cancel(done) => {
                    self.deactivate();
                    let cancelled = stack.cancel(channel).await;
                    let _ = done.send(());
                    if cancelled.is_err() {
                        return End::Closed;
                    }
                }
                Command::Close(done) => {
                    let _ = channel.close(200, "OK".into()).await;
                    let _ = done.send(());
                    return End::Closed;
                }
            }
        };
        match dry {
            Dry::Ended(why) if !stack.is_cancelled() => return End::Broken(why),
            Dry::Ended(_) => {}
            Dry::Unwanted => {
                self.deactivate();
                if stack.cancel(channel).await.is_err() {
                    return End::Closed;
                }
            }
        }
        self.hold(channel).await
    }

    /// The broker delivers no more, or is about to be told so.
    fn deactivate(&self) {
        self.current.is_active.store(false, Ordering::Relaxed);
    }

    /// After the last delivery: keeps the channel for those who still settle what they took.
    async fn hold(&mut self, channel: &Channel) -> End {
        // Ends the receiver.
        self.outlet.deliveries = mpsc::channel(1).0;
        while let Some(command) = self.commands.recv().await {
            match command {
                Command::SetPrefetch(_, done) | Command::Cancel(done) => drop(done.send(())),
                Command::Close(done) => {
                    let _ = channel.close(200, "OK".into()).await;
                    let _ = done.send(());
                    break;
                }
            }
        }
        End::Closed
    }
}

impl Outlet {
    /// Hands out deliveries until there are no more. Nothing is lost when this future is dropped.
    async fn pour(&mut self, generation: u64, stack: &mut Stack) -> Dry {
        loop {
            if self.waiting.is_some() {
                let Ok(room) = self.deliveries.reserve().await else { return Dry::Unwanted };
                if let Some(delivery) = self.waiting.take() {
                    room.send(delivery);
                }
            }
            let next = tokio::select! {
                biased;
                next = stack.next() => next,
                () = self.deliveries.closed() => return Dry::Unwanted,
            };
            let delivery = match next {
                Ok(delivery) => delivery,
                Err(why) => return Dry::Ended(why),
            };
            match self.deliveries.try_send(ours(generation, delivery)) {
                Ok(()) => {}
                Err(TrySendError::Full(delivery)) => self.waiting = Some(delivery),
                Err(TrySendError::Closed(_)) => return Dry::Unwanted,
            }
        }
    }
}

fn ours(generation: u64, delivery: lapin::message::Delivery) -> Delivery {
    Delivery {
        message: decode_message(&delivery.properties, delivery.data),
        exchange: delivery.exchange.into(),
        routing_key: delivery.routing_key.into(),
        redelivered: delivery.redelivered,
        tag: DeliveryTag { generation, tag: delivery.delivery_tag },
    }
}

fn broken(error: &lapin::Error) -> End {
    End::Broken(refusal(error).unwrap_or_else(|| reason(error)))
}
