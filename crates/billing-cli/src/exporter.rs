//! The figures of a role as Prometheus reads them: `/metrics` beside the probes.

use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// How often what was recorded is put into the buckets, whether or not anybody reads them.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

/// In seconds: from a task that does nothing to the five minutes that the gateway may take.
const BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Installs the recorder of this process. What is made before it is not counted.
pub(crate) fn install() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new().with_recommended_naming(true);
    let builder = [".duration", ".wait", ".lag"].into_iter().try_fold(builder, |builder, ending| {
        builder.set_buckets_for_metric(Matcher::Suffix(ending.to_owned()), &BUCKETS)
    });
    let handle = builder.context("buckets")?.install_recorder().context("the recorder of metrics")?;
    celeriac::metrics::describe();
    billing_worker::describe_metrics();
    Ok(handle)
}
