//! The domain: machines by table and by property, transactions against a real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "here an unwrap is an assertion")]

mod shop;
mod support;
mod timetable;

mod account_machine;
mod bill_machine;
mod breaker;
mod cards;
mod charging;
mod circuits;
mod closing;
mod concurrency;
mod constraints;
mod creating;
mod database;
mod decline_rules;
mod declines;
mod defects;
mod doubt;
mod dunning;
mod event_log;
mod explaining;
mod kept_card;
mod many_attempts;
mod migrations;
mod payment_machine;
mod payment_properties;
mod periods;
mod plans;
mod reaching;
mod renewal_properties;
mod renewals_end;
mod renewing;
mod resolving;
mod services;
mod story;
mod subscriber;
mod task_contract;
mod three_ds;
mod verb_machine;
mod verb_properties;
mod which_period;
mod window;
