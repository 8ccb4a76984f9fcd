//! What tests stand on: real servers, a database per test, a virtual host per test, fault proxies.
//!
//! `make test` starts the servers (`deploy/local/services.sh exec`) and tells their addresses in `TEST_*` variables.
//! Every test takes its own corner of them, so tests run in parallel and leave nothing to each other:
//!
//! ```ignore
//! let database = testkit::postgres().await;      // dropped with the value
//! let vhost = testkit::rabbitmq().await;         // likewise
//! let redis = testkit::redis().await;            // a database number of its own, empty
//! ```
//!
//! What a test does *to* a server (restart, kill) it does to one of its own: [`own_rabbitmq`], [`own_redis`],
//! [`own_postgres`]; what it does to a connection goes through a [`FaultProxy`]. Programs run as a [`Process`].
//! Nothing sleeps for luck: wait with [`eventually`] or [`Process::wait_for_line`], both bounded.
//!
//! A failure here is a failed test, so functions panic and say what they wanted.

mod auth;
mod binary;
mod celery;
mod environment;
mod eventually;
mod logs;
mod names;
mod own;
mod pgbouncer;
mod ports;
mod postgres;
mod process;
mod proxy;
mod python;
mod rabbitmq;
mod redis;
mod redis_server;
mod tap;

pub use auth::{AuthService, Conduct};
pub use binary::billing_binary;
pub use celery::{CeleryCommandLine, Said};
pub use eventually::{Observation, eventually};
pub use logs::{Logs, show_logs};
pub use own::{OwnServer, own_postgres, own_postgres_with, own_rabbitmq, own_rabbitmq_cluster, own_redis};
pub use pgbouncer::{PgBouncer, pgbouncer};
pub use ports::free_port;
pub use postgres::{TestDatabase, copy_of, postgres, postgres_from_template};
pub use process::{Process, Signal};
pub use proxy::FaultProxy;
pub use python::{python, python_with_celery_5_5, run_python};
pub use rabbitmq::{Permissions, Vhost, rabbitmq};
pub use redis::{RedisDb, redis};
pub use redis_server::{RedisServer, redis_server};
pub use tap::Tap;
