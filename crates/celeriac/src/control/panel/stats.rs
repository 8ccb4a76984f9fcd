//! `stats`.

use super::arguments::Arguments;
use super::{Answer, Node, json, proc};
use crate::protocol::Json;

pub(super) fn stats(node: &Node, _: &Arguments) -> Answer {
    let totals = node.registry.tasks().map(|task| (task.name.clone(), task.begun())).filter(|(_, count)| *count > 0);
    let mut stats = vec![
        ("total", json::object(totals.map(|(name, count)| (name, Json::from(count))))),
        ("pid", node.pid.into()),
        // A text, as Celery has it.
        ("clock", node.clock.value().to_string().into()),
        ("uptime", node.started.elapsed().as_secs().into()),
        ("pool", pool(node)),
        ("broker", broker(node.app.broker().address())),
        ("prefetch_count", prefetch_count(node)),
        ("rusage", proc::rusage()),
    ];
    if let Some(autoscale) = &node.autoscale {
        let scale = autoscale.info(&node.pool, node.todo());
        stats.push(("autoscaler", json::object(scale.map(|(name, value)| (name, Json::from(value))))));
    }
    Ok(json::object(stats)).into()
}

/// How bodies run, in the terms of Celery's pools: one process, as many slots as there are.
fn pool(node: &Node) -> Json {
    let own = node.own_pools.iter().map(|(queue, pool)| (queue.as_str(), Json::from(pool.size())));
    json::object([
        ("implementation", "celeriac.worker:Pool".into()),
        ("max-concurrency", node.pool.size().into()),
        ("processes", json::list([node.pid])),
        ("max-tasks-per-child", node.settings.max_tasks.map_or_else(|| "N/A".into(), Json::from)),
        ("put-guarded-by-semaphore", true.into()),
        ("timeouts", json::list([0_u32, 0])),
        ("blocking-threads", node.threads.slots.size().into()),
        ("queue-concurrency", json::object(own)),
    ])
}

/// How many messages the consumers may hold together; 0 if one of them has no limit.
fn prefetch_count(node: &Node) -> Json {
    let counts: Vec<u32> = node.channels.lock().iter().map(|channel| channel.prefetch().into()).collect();
    if counts.contains(&0) { 0_u32.into() } else { counts.iter().sum::<u32>().into() }
}

/// The parts of the broker's address, of the first if there are several.
fn broker(address: &str) -> Json {
    let first = address.split(';').next().unwrap_or_default();
    let (transport, rest) = first.split_once("://").unwrap_or(("", first));
    let (authority, virtual_host) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, server) = authority.rsplit_once('@').map_or((None, authority), |(user, server)| (Some(user), server));
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, port.parse::<u32>().ok()),
        _ => (server, None),
    };
    let is_tls = transport == "amqps";
    json::object([
        ("hostname", host.into()),
        ("userid", json::optional(user)),
        ("virtual_host", virtual_host.into()),
        ("port", json::optional(port)),
        ("insist", false.into()),
        ("ssl", is_tls.into()),
        ("transport", if is_tls { "amqp" } else { transport }.into()),
        ("connect_timeout", 10_u32.into()),
        ("transport_options", json::object::<&str>([])),
        ("login_method", "PLAIN".into()),
        ("uri_prefix", Json::Null),
        ("heartbeat", Json::from(10.0)),
        ("credential_provider", Json::Null),
        ("failover_strategy", "round-robin".into()),
        ("alternates", json::list(address.split(';').skip(1))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_told_in_parts_and_never_by_its_password() {
        let broker = broker("amqp://guest@127.0.0.1:5672/cap;amqp://guest@other:5672//");
        for (key, value) in [
            ("hostname", Json::from("127.0.0.1")),
            ("userid", "guest".into()),
            ("virtual_host", "cap".into()),
            ("port", 5672_u32.into()),
            ("transport", "amqp".into()),
            ("alternates", json::list(["amqp://guest@other:5672//"])),
        ] {
            assert_eq!(broker.get(key), Some(&value), "{key}");
        }
        let memory = super::broker("memory://shop");
        assert_eq!((memory.get("hostname"), memory.get("port")), (Some(&"shop".into()), Some(&Json::Null)));
    }
}
