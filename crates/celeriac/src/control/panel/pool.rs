//! `pool_grow`, `pool_shrink`, `pool_restart`, `autoscale`.

use super::arguments::Arguments;
use super::{Answer, Exception, Node, Reply, json};

pub(super) fn grow(node: &Node, arguments: &Arguments) -> Answer {
    try_grow(node, arguments).into()
}

fn try_grow(node: &Node, arguments: &Arguments) -> Reply {
    if node.autoscale.is_some() {
        return Ok(refused("pool_grow"));
    }
    node.pool.grow(arguments.count("n")?.unwrap_or(1));
    node.pool_changed();
    Ok(json::ok("pool will grow"))
}

pub(super) fn shrink(node: &Node, arguments: &Arguments) -> Answer {
    try_shrink(node, arguments).into()
}

fn try_shrink(node: &Node, arguments: &Arguments) -> Reply {
    if node.autoscale.is_some() {
        return Ok(refused("pool_shrink"));
    }
    let n = arguments.count("n")?.unwrap_or(1);
    let shrunk = node.pool.shrink(n);
    node.pool_changed();
    if shrunk < n {
        // What was free is gone nevertheless, as in Celery (`billiard/pool.py`, `shrink`).
        return Err(Exception::value_error("Can't shrink pool. All processes busy!"));
    }
    Ok(json::ok("pool will shrink"))
}

fn refused(method: &str) -> crate::protocol::Json {
    json::error(&format!("{method} is not supported with autoscale. Adjust autoscale range instead."))
}

/// There are no processes that could be restarted.
pub(super) fn restart(_: &Node, _: &Arguments) -> Answer {
    Err(Exception::value_error("Pool restarts not enabled")).into()
}

pub(super) fn autoscale(node: &Node, arguments: &Arguments) -> Answer {
    try_autoscale(node, arguments).into()
}

fn try_autoscale(node: &Node, arguments: &Arguments) -> Reply {
    let Some(autoscale) = &node.autoscale else {
        return Err(Exception::value_error("Autoscale not enabled"));
    };
    let (max, min) = autoscale.update(&node.pool, arguments.count("max")?, arguments.count("min")?);
    node.pool_changed();
    Ok(json::ok(&format!("autoscale now max={max} min={min}")))
}
