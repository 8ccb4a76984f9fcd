//! `billing health`: one question to a running role, for containers that have no other tool inside.

mod tls;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::service_fn;
use url::{Host, Url};

/// How long the whole question may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whom to ask, and how to know each other.
#[derive(Args, Clone, Debug)]
pub struct HealthConfig {
    /// The API: grpc://HOST:PORT, or behind TLS grpcs://HOST:PORT and https://HOST:PORT. The sandbox: http://HOST:PORT/.
    /// The dashboard: http://HOST:PORT/sign-in.
    /// Workers and beats: http://HOST:PORT/readyz (HEALTH_LISTEN). With API_TLS_CERT in the environment, as the API itself
    /// has it, grpc:// means TLS too
    #[arg(value_name = "URL")]
    pub url: Url,

    /// Certificate authorities (PEM) that the server's certificate must be signed by [default: those of the system]
    #[arg(long = "ca", env = "HEALTH_TLS_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Certificate chain (PEM) to show to a server that asks its clients for one (API_TLS_CLIENT_CA)
    #[arg(long = "cert", env = "HEALTH_TLS_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,

    /// Private key (PEM) of that certificate
    #[arg(long = "key", env = "HEALTH_TLS_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// The name in the server's certificate, where it is not the one in the URL
    #[arg(long = "server-name", env = "HEALTH_TLS_NAME", value_name = "NAME")]
    pub server_name: Option<String>,

    /// The certificate chain (PEM) of the API in this environment: it is trusted as it is, whatever name it has
    #[arg(long = "api-tls-cert", env = "API_TLS_CERT", value_name = "FILE")]
    pub api_tls_cert: Option<PathBuf>,
}

impl HealthConfig {
    fn speaks_tls(&self) -> bool {
        match self.url.scheme() {
            "grpcs" | "https" => true,
            "grpc" => self.api_tls_cert.is_some(),
            _ => false,
        }
    }

    /// `https://` without a path is the API's address, as its clients have it.
    fn speaks_grpc(&self) -> bool {
        match self.url.scheme() {
            "grpc" | "grpcs" => true,
            "https" => self.url.path() == "/",
            _ => false,
        }
    }
}

/// Whether the role behind the address says that it is well.
pub(crate) async fn check(config: &HealthConfig) -> anyhow::Result<()> {
    let tls = if config.speaks_tls() { Some(tls::client(config)?) } else { None };
    let asked =
        async { if config.speaks_grpc() { serving(config, tls).await } else { answers(&config.url, tls).await } };
    let late = || anyhow::anyhow!("{} does not answer within {PATIENCE:?}", config.url);
    tokio::time::timeout(PATIENCE, asked).await.map_err(|_| late())?
}

async fn serving(config: &HealthConfig, tls: Option<rustls::ClientConfig>) -> anyhow::Result<()> {
    let url = &config.url;
    let channel = match tls {
        None => channel(url)?.connect().await,
        Some(mut tls) => {
            tls.alpn_protocols = vec![b"h2".to_vec()];
            let (name, connector) = (tls::server_name(config)?, TlsConnector::from(std::sync::Arc::new(tls)));
            let address = address(url)?;
            let connect = service_fn(move |_: Uri| {
                let (name, connector, address) = (name.clone(), connector.clone(), address.clone());
                async move {
                    let tcp = TcpStream::connect(address).await?;
                    connector.connect(name, tcp).await.map(TokioIo::new)
                }
            });
            channel(url)?.connect_with_connector(connect).await
        }
    };
    let channel: Channel = channel.with_context(|| format!("{url} cannot be reached"))?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    let answer = answer.map_err(|status| match std::error::Error::source(&status) {
        // No answer at all, but a connection that was lost.
        Some(lost) if config.speaks_tls() => anyhow::anyhow!("{url} cannot be reached: {lost}"),
        Some(lost) => anyhow::anyhow!("{url} cannot be reached: {lost}; if it is behind TLS, ask grpcs://"),
        None => anyhow::anyhow!("{url} answers {:?}: {}", status.code(), status.message()),
    })?;
    let status = answer.into_inner().status();
    ensure!(status == ServingStatus::Serving, "{url} says {}", status.as_str_name());
    Ok(())
}

/// To the client all is plain HTTP/2: the TLS is ours.
fn channel(url: &Url) -> anyhow::Result<Endpoint> {
    let (host, port) = address(url)?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(Endpoint::from_shared(format!("http://{host}:{port}"))?)
}

fn address(url: &Url) -> anyhow::Result<(String, u16)> {
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => anyhow::bail!("{url} names no host"),
    };
    let default = if url.scheme() == "https" { 443 } else { 50051 };
    Ok((host, url.port().unwrap_or(default)))
}

async fn answers(url: &Url, tls: Option<rustls::ClientConfig>) -> anyhow::Result<()> {
    let mut http = reqwest::Client::builder().no_proxy();
    if let Some(tls) = tls {
        http = http.tls_backend_preconfigured(tls);
    }
    let answer = http.build()?.get(url.clone()).send().await.map_err(reqwest::Error::without_url);
    let answer = answer.with_context(|| format!("{url} cannot be reached"))?;
    ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
    Ok(())
}
