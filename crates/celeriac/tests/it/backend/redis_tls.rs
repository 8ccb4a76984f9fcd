//! `rediss://` with a real server that speaks TLS, an authority of our own, and certificates of clients.

use std::path::Path;
use std::time::Duration;

use celeriac::backend::{BackendError, BackendOptions, connect};
use celeriac::beat::store;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use testkit::{RedisServer, redis_server};

use super::{id, open, result, state};

/// An authority's files: `ca.pem`, and for `server` and `client` a certificate and a key each.
pub(crate) struct Authority(TempDir);

impl Authority {
    pub(crate) fn new(host: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        for name in ["server", "client"] {
            let mut params = CertificateParams::new([host.to_owned()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(directory.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(directory.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self(directory)
    }

    pub(crate) fn path(&self, file: &str) -> String {
        Path::new(self.0.path()).join(file).display().to_string()
    }

    async fn redis(&self, clients: &str) -> RedisServer {
        let (ca, certificate, key) = (self.path("ca.pem"), self.path("server.pem"), self.path("server.key"));
        redis_server(&[
            "--tls-port",
            "PORT",
            "--port",
            "0",
            "--tls-ca-cert-file",
            &ca,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            clients,
        ])
        .await
    }
}

async fn refused(url: &str) -> String {
    match connect(url, &BackendOptions::default()).await {
        Err(BackendError::Refused { reason, .. }) => reason,
        Err(other) => panic!("{url} is only unavailable: {other}"),
        Ok(_) => panic!("{url} was accepted"),
    }
}

#[tokio::test]
async fn results_and_schedules_are_kept_over_tls_by_whoever_is_trusted() {
    let authority = Authority::new("localhost");
    let server = authority.redis("no").await;
    let (port, ca) = (server.port(), authority.path("ca.pem"));
    for url in [
        format!("rediss://localhost:{port}/0?ssl_ca_certs={ca}&ssl_cert_reqs=CERT_REQUIRED"),
        format!("rediss://localhost:{port}/0?ssl_cert_reqs=none"),
        format!("rediss://127.0.0.1:{port}/0?ssl_ca_certs={ca}&ssl_check_hostname=false"),
    ] {
        let (backend, task) = (open(&url, BackendOptions::default()).await, id());
        let mut subscription = backend.subscribe(&task).await.expect("the second connection is encrypted too");
        backend.store(&[result(&task, "SUCCESS")]).await.unwrap();
        super::next(&mut subscription).await;
        assert_eq!(state(&*backend, &task).await.as_deref(), Some("SUCCESS"), "{url}");
        let schedule = store::connect(&url).await.unwrap();
        assert!(schedule.lead(&id(), Duration::from_millis(1)).await.is_ok());
    }
    for url in [format!("rediss://localhost:{port}"), format!("rediss://127.0.0.1:{port}?ssl_ca_certs={ca}")] {
        assert!(refused(&url).await.contains("certificate"), "{url}");
    }
    let missing = refused(&format!("rediss://localhost:{port}?ssl_ca_certs=/nowhere/ca.pem")).await;
    assert!(missing.contains("ssl_ca_certs /nowhere/ca.pem"), "{missing}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let authority = Authority::new("localhost");
    let server = authority.redis("yes").await;
    let url = format!("rediss://localhost:{}?ssl_ca_certs={}", server.port(), authority.path("ca.pem"));
    let ours =
        format!("{url}&ssl_certfile={}&ssl_keyfile={}", authority.path("client.pem"), authority.path("client.key"));
    let backend = open(&ours, BackendOptions::default()).await;
    backend.store(&[result(&id(), "SUCCESS")]).await.unwrap();
    assert!(connect(&url, &BackendOptions::default()).await.is_err(), "without a certificate nobody is let in");
}
