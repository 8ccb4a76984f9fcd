//! The sandbox as its users meet it: over HTTP, through its pages, and by a real client of the gateway.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod cabinet;
mod cards;
mod clients;
mod edge;
mod faults;
mod ledger_file;
mod lists;
mod money;
mod notification_faults;
mod notification_fields;
mod notifications;
mod readme;
mod real_clients;
mod receiver;
mod replay;
mod shapes;
mod shop;
mod statement;
mod subscriptions;
mod three_ds;
