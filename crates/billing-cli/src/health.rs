//! `billing health`: one question to a running role, for containers that have no other tool inside.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use url::Url;

const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the role behind the address says that it is well.
pub(crate) async fn check(url: &Url) -> anyhow::Result<()> {
    match url.scheme() {
        "grpc" => serving(&url.as_str().replacen("grpc", "http", 1)).await,
        _ => answers(url).await,
    }
}

async fn serving(url: &str) -> anyhow::Result<()> {
    let channel = tonic::transport::Endpoint::from_shared(url.to_owned())?
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE)
        .connect()
        .await
        .with_context(|| format!("{url} cannot be reached"))?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await?.into_inner();
    ensure!(answer.status() == ServingStatus::Serving, "{url} says {}", answer.status().as_str_name());
    Ok(())
}

async fn answers(url: &Url) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let answer = http.get(url.clone()).send().await.with_context(|| format!("{url} cannot be reached"))?;
    ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
    Ok(())
}
