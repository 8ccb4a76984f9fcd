//! TLS in front of a real server: the proxy here answers PostgreSQL's question for TLS and hands on what it decrypts.

use std::net::SocketAddr;
use std::sync::Arc;

use celeriac::backend::{BackendError, BackendOptions, connect};
use rcgen::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use url::Url;

use super::super::{Setup, open, result, state};

/// `SSLRequest`, the only thing said in the clear.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

struct Terminator {
    port: u16,
    roots: tempfile::NamedTempFile,
}

impl Terminator {
    async fn start(upstream: &str, host: &str) -> Self {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let upstream = Url::parse(upstream).unwrap().socket_addrs(|| None).unwrap()[0];
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, acceptor.clone(), upstream));
            }
        });
        let roots = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(roots.path(), cert.pem()).unwrap();
        Self { port, roots }
    }

    fn url(&self, upstream: &str, host: &str, query: &str) -> String {
        let mut url = Url::parse(upstream).unwrap();
        url.set_host(Some(host)).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.set_query(Some(&query.replace("ROOTS", self.roots.path().to_str().unwrap())));
        url.into()
    }
}

async fn connection(mut client: TcpStream, acceptor: TlsAcceptor, upstream: SocketAddr) {
    let mut request = [0; 8];
    client.read_exact(&mut request).await.unwrap();
    if request != SSL_REQUEST {
        return;
    }
    client.write_all(b"S").await.unwrap();
    // Fails where the certificate is not trusted.
    if let Ok(mut client) = acceptor.accept(client).await {
        let mut server = TcpStream::connect(upstream).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[tokio::test]
async fn with_tls_asked_for_a_trusted_server_is_used_and_any_other_refused() {
    let setup = Setup::postgres().await;
    let server = Terminator::start(&setup.url, "localhost").await;
    for mode in ["require", "verify-full"] {
        let url = server.url(&setup.url, "localhost", &format!("sslmode={mode}&sslrootcert=ROOTS"));
        let backend = open(&url, BackendOptions::default()).await;
        backend.store(&[result(mode, "SUCCESS")]).await.unwrap();
        assert_eq!(state(&*backend, mode).await.as_deref(), Some("SUCCESS"));
        backend.subscribe(mode).await.expect("the second connection is encrypted too");
    }
    let any_name = server.url(&setup.url, "127.0.0.1", "sslmode=verify-ca&sslrootcert=ROOTS");
    open(&any_name, BackendOptions::default()).await;
    let unknown_authority = server.url(&setup.url, "localhost", "sslmode=require");
    let other_name = server.url(&setup.url, "127.0.0.1", "sslmode=require&sslrootcert=ROOTS");
    let without_tls = format!("{}?sslmode=require&sslrootcert={}", setup.url, server.roots.path().display());
    let no_such_file = format!("{}?sslmode=require&sslrootcert=/nowhere/roots.pem", setup.url);
    for (url, part) in [
        (unknown_authority, "certificate"),
        (other_name, "certificate"),
        (without_tls, "does not support TLS"),
        (no_such_file, "sslrootcert /nowhere/roots.pem"),
    ] {
        let Err(error) = connect(&url, &BackendOptions::default()).await else { panic!("{url} was trusted") };
        assert!(matches!(&error, BackendError::Refused { reason, .. } if reason.contains(part)), "{url}: {error:?}");
    }
}
