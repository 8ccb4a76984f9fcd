//! How a worker takes its tasks, and when it ends; with the options of `celery worker` as other names.

use std::time::Duration;

use billing::duration;
use celeriac::WorkerBuilder;
use clap::{ArgAction, Args};
use secrecy::{ExposeSecret as _, SecretString};

use crate::Stop;

/// Options that are not about billing.
#[derive(Debug, Clone, Args)]
#[group(id = "life")]
pub struct LifeConfig {
    /// Lets the number of tasks at once follow the work, between these two, instead of a fixed one
    #[arg(long, visible_alias = "autoscale", env = "WORKER_AUTOSCALE", value_parser = autoscale, value_name = "MAX,MIN")]
    pub worker_autoscale: Option<(usize, usize)>,

    /// Messages that each queue's consumer holds for each task at once; 0 is without a limit
    #[arg(
        long,
        visible_alias = "prefetch-multiplier",
        env = "WORKER_PREFETCH_MULTIPLIER",
        default_value_t = 4,
        value_name = "N"
    )]
    pub worker_prefetch_multiplier: usize,

    /// Announces every task, for the dashboard, Flower and `billing events`
    #[arg(
        short = 'E',
        long,
        visible_aliases = ["task-events", "events"],
        env = "WORKER_EVENTS",
        default_value_t = true,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "on|off"
    )]
    pub worker_events: bool,

    /// Does not ask other workers at the start which tasks are revoked
    #[arg(long, visible_alias = "without-mingle", env = "WORKER_WITHOUT_MINGLE")]
    pub worker_without_mingle: bool,

    /// Does not listen to other workers
    #[arg(long, visible_alias = "without-gossip", env = "WORKER_WITHOUT_GOSSIP")]
    pub worker_without_gossip: bool,

    /// After so many tasks the worker finishes what runs and ends with status 75, to be started again
    #[arg(
        long,
        visible_alias = "max-tasks-per-child",
        env = "WORKER_MAX_TASKS",
        value_parser = clap::value_parser!(u64).range(1..),
        value_name = "N"
    )]
    pub worker_max_tasks: Option<u64>,

    /// With more resident memory the worker finishes what runs and ends with status 75, to be started again; a number
    /// alone is KiB
    #[arg(
        long,
        visible_alias = "max-memory-per-child",
        env = "WORKER_MAX_MEMORY",
        value_parser = billing::size::parse,
        value_name = "SIZE"
    )]
    pub worker_max_memory: Option<u64>,

    /// A task that was delivered before, because its acknowledgement was lost, and whose success is stored is not run again
    #[arg(long, env = "WORKER_DEDUPLICATE_SUCCESSFUL_TASKS")]
    pub worker_deduplicate_successful_tasks: bool,

    /// How long RabbitMQ waits for an acknowledgement (its consumer_timeout): the worker says at its start which tasks may run
    /// longer, and are delivered again then; 0s: for ever
    #[arg(
        long,
        env = "WORKER_CONSUMER_TIMEOUT",
        default_value = "30m",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub worker_consumer_timeout: Duration,

    /// RabbitMQ's management API, `http://user:password@host:15672`: asked at the start whether a policy lets a queue drop
    /// messages that come back too often. Not asked by default
    #[arg(long, env = "BROKER_API", hide_env_values = true, value_name = "URL")]
    pub broker_api: Option<SecretString>,

    /// How long running tasks may go on after SIGQUIT, or a second SIGTERM or SIGINT, before they are dropped and given back
    #[arg(
        long,
        env = "WORKER_SOFT_SHUTDOWN_TIMEOUT",
        default_value = "0s",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub worker_soft_shutdown_timeout: Duration,

    /// Takes that time although no task runs
    #[arg(long, env = "WORKER_SOFT_SHUTDOWN_ON_IDLE")]
    pub worker_soft_shutdown_on_idle: bool,

    /// When the worker has been unable to work for so long, for a reason that only a new start mends, it ends with status
    /// 70; 0s: never
    #[arg(
        long,
        env = "WORKER_WATCHDOG",
        default_value = "2m",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub worker_watchdog: Duration,
}

impl LifeConfig {
    pub(crate) fn apply<S: Send + Sync + 'static>(
        self,
        builder: WorkerBuilder<S>,
        stop: &Stop,
        stuck: impl Fn(&str) + Send + Sync + 'static,
    ) -> WorkerBuilder<S> {
        let mut builder = builder
            .prefetch_multiplier(self.worker_prefetch_multiplier)
            .events(self.worker_events)
            .mingle(!self.worker_without_mingle)
            .gossip(!self.worker_without_gossip)
            .soft_shutdown(stop.soft.clone(), self.worker_soft_shutdown_timeout)
            .soft_shutdown_on_idle(self.worker_soft_shutdown_on_idle)
            .deduplicate_successful_tasks(self.worker_deduplicate_successful_tasks)
            .consumer_timeout(self.worker_consumer_timeout);
        if let Some(address) = self.broker_api {
            builder = builder.management_api(address.expose_secret());
        }
        if let Some((max, min)) = self.worker_autoscale {
            builder = builder.autoscale(max, min);
        }
        if let Some(tasks) = self.worker_max_tasks {
            builder = builder.max_tasks(tasks);
        }
        if let Some(bytes) = self.worker_max_memory {
            builder = builder.max_memory(bytes);
        }
        if !self.worker_watchdog.is_zero() {
            builder = builder.watchdog(self.worker_watchdog).watchdog_abort(stuck);
        }
        builder
    }
}

/// Celery takes the two in either order, and one alone for the most.
fn autoscale(text: &str) -> Result<(usize, usize), String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    match numbers.as_deref() {
        Ok([max]) if *max > 0 => Ok((*max, 1)),
        Ok([one, other]) if one.max(other) > &0 => Ok((*one.max(other), *one.min(other).max(&1))),
        _ => Err("expected two numbers, as in 10,3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_the_pool_may_be_said_in_either_order() {
        for (text, bounds) in [("10,3", (10, 3)), ("3,10", (10, 3)), ("10", (10, 1)), ("10,0", (10, 1))] {
            assert_eq!(autoscale(text), Ok(bounds), "{text}");
        }
        for wrong in ["", "0", "a,b", "1,2,3", "0,0"] {
            assert!(autoscale(wrong).is_err(), "{wrong}");
        }
    }
}
