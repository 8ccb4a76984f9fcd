//! The worker, on every kind of broker.

pub(crate) mod setup;
pub(crate) mod tasks;

mod again;
mod announcing;
mod blocking;
mod cluster;
mod delayed;
mod disruption;
mod flows;
mod hidden;
mod hooks;
mod lifetime;
mod nodes;
mod outcomes;
mod own_slots;
mod parking;
mod peers;
mod python;
mod rates;
mod readiness;
mod recording;
mod settling;
mod shutdown;
mod storm;
mod tagged;

/// Runs each test on each kind of broker.
macro_rules! on_every_broker {
    ($($name:ident),* $(,)?) => {
        on_every_broker!(@ memory: $($name),*);
        on_every_broker!(@ classic: $($name),*);
        on_every_broker!(@ quorum: $($name),*);
    };
    (@ $kind:ident: $($name:ident),*) => {
        mod $kind {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(crate::worker::setup::Setup::$kind().await).await;
                }
            )*
        }
    };
}
pub(crate) use on_every_broker;
