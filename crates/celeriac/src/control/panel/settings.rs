//! `conf`, `report`: settings under Celery's names.

use serde_json::{Value, json as value};

use super::arguments::Arguments;
use super::{Answer, Node, json};
use crate::control::report::report as bug_report;
use crate::protocol::{Json, RawJson};

/// What `HIDDEN_SETTINGS` is looked for in the names of settings (`celery/app/utils.py`).
const HIDDEN: [&str; 9] =
    ["API", "TOKEN", "KEY", "SECRET", "PASS", "PROFANITIES_LIST", "SIGNATURE", "DATABASE", "BEAT_DBURI"];
const MASK: &str = "********";

pub(super) fn conf(node: &Node, arguments: &Arguments) -> Answer {
    let settings = settings(node, arguments.truth("with_defaults"));
    let shown: Value = settings.into_iter().map(|(name, value)| (name.to_owned(), masked(name, value))).collect();
    Ok(RawJson::of(&shown).map_or(Json::Null, |text| text.to_tree())).into()
}

pub(super) fn report(node: &Node, _: &Arguments) -> Answer {
    let settings: Vec<_> = settings(node, false).into_iter().map(|(name, value)| (name, masked(name, value))).collect();
    let (broker, backend) = (node.app.broker().address(), node.app.backend().address());
    Ok(json::ok(&bug_report(broker, Some(backend), &settings))).into()
}

/// The settings that differ from Celery's defaults, or all that mean something here.
fn settings(node: &Node, with_defaults: bool) -> Vec<(&'static str, Value)> {
    let queues: Vec<_> = node.queues.definitions().into_iter().map(|queue| queue.name).collect();
    let mut settings = vec![
        ("broker_url", with_mask(node.app.broker().address()).into()),
        ("result_backend", with_mask(node.app.backend().address()).into()),
        ("task_queues", queues.into()),
        ("worker_concurrency", node.pool.size().into()),
    ];
    let limits = node.state.revoke_limits();
    let mut options = node.app.settings();
    options.extend([
        ("worker_prefetch_multiplier", node.pool.prefetch_multiplier().into(), value!(4)),
        ("worker_send_task_events", node.events.is_fixed().into(), value!(false)),
        ("task_track_started", node.settings.track_started.into(), value!(false)),
        ("result_extended", node.settings.result_extended.into(), value!(false)),
        ("worker_enable_remote_control", node.settings.remote_control.into(), value!(true)),
        ("worker_max_tasks_per_child", value!(node.settings.max_tasks), Value::Null),
        // In KiB.
        ("worker_max_memory_per_child", value!(node.settings.max_memory.map(|bytes| bytes / 1024)), Value::Null),
        ("worker_soft_shutdown_timeout", node.settings.soft_shutdown_timeout.as_secs_f64().into(), value!(0.0)),
        ("worker_enable_soft_shutdown_on_idle", node.settings.soft_shutdown_on_idle.into(), value!(false)),
        ("worker_disable_rate_limits", node.settings.disable_rate_limits.into(), value!(false)),
        ("worker_state_db", value!(node.settings.statedb.as_deref()), Value::Null),
        // Environment variables of Celery's.
        ("CELERY_WORKER_REVOKES_MAX", limits.max.into(), value!(50_000)),
        ("CELERY_WORKER_REVOKE_EXPIRES", limits.expires.as_secs_f64().into(), value!(10_800.0)),
    ]);
    settings.extend(
        options
            .into_iter()
            .filter(|(_, value, default)| with_defaults || value != default)
            .map(|(name, value, _)| (name, value)),
    );
    if with_defaults {
        settings.extend(constants());
    }
    settings
}

/// What cannot be set here, where that is the same for Celery unless somebody sets it there.
fn constants() -> [(&'static str, Value); 37] {
    let policy = value!({"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2});
    [
        ("accept_content", value!(["json"])),
        ("broker_connection_retry", value!(true)),
        ("control_exchange", value!("celery")),
        ("control_queue_durable", value!(false)),
        ("control_queue_exclusive", value!(true)),
        ("control_queue_expires", value!(10.0)),
        ("control_queue_ttl", value!(300.0)),
        ("enable_utc", value!(true)),
        ("event_exchange", value!("celeryev")),
        ("event_queue_durable", value!(false)),
        ("event_queue_exclusive", value!(true)),
        ("event_queue_expires", value!(60.0)),
        ("event_queue_prefix", value!("celeryev")),
        ("event_queue_ttl", value!(5.0)),
        ("event_serializer", value!("json")),
        ("result_chord_join_timeout", value!(3.0)),
        ("result_chord_retry_interval", value!(1.0)),
        ("result_serializer", value!("json")),
        ("task_acks_late", value!(false)),
        ("task_acks_on_failure_or_timeout", value!(true)),
        ("task_allow_error_cb_on_chord_header", value!(false)),
        ("task_always_eager", value!(false)),
        ("task_create_missing_queues", value!(true)),
        ("task_default_delivery_mode", value!(2)),
        ("task_default_exchange_type", value!("direct")),
        ("task_ignore_result", value!(false)),
        ("task_inherit_parent_priority", value!(false)),
        ("task_protocol", value!(2)),
        ("task_publish_retry", value!(true)),
        ("task_publish_retry_policy", policy),
        ("task_reject_on_worker_lost", Value::Null),
        ("task_repr_maxlevels", value!(3)),
        ("task_serializer", value!("json")),
        ("task_store_errors_even_if_ignored", value!(false)),
        ("timezone", value!("UTC")),
        ("worker_detect_quorum_queues", value!(true)),
        ("worker_direct", value!(false)),
    ]
}

/// Celery shows that there is a password; the address that we keep has none any more.
fn with_mask(address: &str) -> String {
    let one = |address: &str| match address
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)))
    {
        Some((scheme, (user, rest))) => format!("{scheme}://{user}:{MASK}@{rest}"),
        None => address.to_owned(),
    };
    address.split(';').map(one).collect::<Vec<_>>().join(";")
}

fn masked(name: &str, value: Value) -> Value {
    let name = name.to_ascii_uppercase();
    if HIDDEN.iter().any(|hidden| name.contains(hidden)) { MASK.into() } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_show_that_there_is_a_password_and_names_that_sound_secret_are_masked() {
        for (address, shown) in [
            ("amqp://guest@h:5672//", "amqp://guest:********@h:5672//"),
            ("amqp://a@h/v;amqp://b@i/v", "amqp://a:********@h/v;amqp://b:********@i/v"),
            ("redis://h:6379/1", "redis://h:6379/1"),
            ("memory://", "memory://"),
        ] {
            assert_eq!(with_mask(address), shown);
        }
        assert_eq!(masked("security_key_password", value!("x")), value!(MASK));
        assert_eq!(masked("timezone", value!("UTC")), value!("UTC"));
    }
}
