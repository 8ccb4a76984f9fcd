//! The domain: machines by table and by property, transactions against a real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "here an unwrap is an assertion")]

mod shop;
mod support;

mod account_machine;
mod bill_machine;
mod charging;
mod concurrency;
mod constraints;
mod creating;
mod database;
mod declines;
mod defects;
mod doubt;
mod event_log;

mod many_attempts;
mod migrations;
mod payment_machine;
mod payment_properties;
mod periods;
mod renewing;
mod resolving;
mod services;
mod task_contract;
mod three_ds;
