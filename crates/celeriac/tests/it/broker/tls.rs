//! `amqps://`, with a certificate authority that only `SSL_CERT_FILE` knows.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use celeriac::broker::{BrokerError, ConnectOptions, connect};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testkit::Process;
use url::Url;

use super::setup::*;

/// Set in the second process of the test below: the address to connect to.
const URL: &str = "CELERIAC_TEST_AMQPS_URL";

fn write_certificates(directory: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    for (name, pem) in [("ca", authority.pem()), ("server", certificate.pem()), ("key", key.serialize_pem())] {
        std::fs::write(directory.join(name), pem).unwrap();
    }
}

/// Trust comes from the environment, which a process has only once: so the test starts itself again.
#[tokio::test]
async fn a_private_authority_is_trusted_by_environment_and_no_other() {
    if let Ok(url) = std::env::var(URL) {
        let broker = connect(&url, ConnectOptions::default()).await.expect("the authority is trusted");
        declare(&*broker, durable("q")).await;
        publish(&*broker, "q", ["x".repeat(300_000)]).await;
        let mut subscription = consume(&*broker, "q", 1).await;
        assert_eq!(body(&next(&mut subscription.deliveries).await).len(), 300_000);
        broker.close().await;
        return;
    }
    let setup = Setup::classic().await;
    let plain = Url::parse(&setup.url).unwrap();
    let directory = tempfile::tempdir().unwrap();
    write_certificates(directory.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/broker/tls_front.py");
    let mut command = Command::new(testkit::python());
    command.arg(script).args(["server", "key"].map(|name| directory.path().join(name)));
    command.args(["127.0.0.1", &plain.port().unwrap().to_string()]);
    let mut front = Process::spawn("tls_front.py", command);
    let port: u16 = front.wait_for_line("", SOON).await.trim().parse().unwrap();
    let url = format!("amqps://guest:guest@localhost:{port}{}", plain.path());

    // Here nobody knows the authority.
    let options = ConnectOptions { connect_timeout: Duration::from_millis(500), ..ConnectOptions::default() };
    let error = connect(&url, options).await.err().unwrap();
    assert!(matches!(&error, BrokerError::Timeout { reason, .. } if reason.contains("UnknownIssuer")), "{error}");

    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "broker::tls::a_private_authority_is_trusted_by_environment_and_no_other"]);
    again.env(URL, &url).env("SSL_CERT_FILE", directory.path().join("ca"));
    let mut again = Process::spawn("the test with SSL_CERT_FILE", again);
    assert!(again.wait(SOON).await.success(), "{}", again.output());
    assert!(again.output().contains("1 passed"), "{}", again.output());
}
