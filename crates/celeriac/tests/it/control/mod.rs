//! Remote control and events: our worker obeys Celery's clients, our client directs Celery's workers.

mod announced;
mod celery;
mod cluster;
mod effects;
mod flower;
mod obey;
mod python;
pub(crate) mod remote;
mod revoking;
mod statedb;
