//! The API as its clients see it: over the wire, on a real database, broker and result backend. No worker runs here:
//! where a payment must go on, the test does to it what a worker would.

mod access;
mod auth_service;
mod bad_input;
mod browser_tokens;
mod browsers;
mod connections;
mod create_payment;
mod events;
mod faults;
mod gateway_rest;
mod grpc_web;
mod idempotency;
mod limits;
mod notifications;
mod operations;
mod other_clients;
mod public;
mod reconciliation;
mod refunds;
mod refused;
mod replace_card;
mod scopes;
mod secrecy;
mod subscriptions;
mod tariffs;
mod three_ds;
mod tls;
mod trials;
mod watch_access;
mod watch_payment;
mod worker;
mod world;
