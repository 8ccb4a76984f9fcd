//! What every broker does alike. Each rule runs against `RabbitMQ` with classic and with quorum queues, and against
//! `memory://`; the rules that quorum queues do not have, against the two others.

mod consuming;
mod headers;
mod lifetimes;
mod publishing;
mod routing;
mod settling;

/// A module of tests for each kind of broker, with one test for each rule.
macro_rules! conformance {
    ($($kind:ident),+: $($rule:ident)+) => {
        conformance!(@kinds [$($kind)+] [$($rule)+]);
    };
    (@kinds [$($kind:ident)+] $rules:tt) => {
        $(conformance!(@rules $kind $rules);)+
    };
    (@rules $kind:ident [$($rule:ident)+]) => {
        mod $kind {
            $(
                #[tokio::test]
                async fn $rule() {
                    super::$rule(&crate::broker::setup::Setup::$kind().await).await;
                }
            )+
        }
    };
}
use conformance;
