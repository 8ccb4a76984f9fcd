use std::path::PathBuf;

use billing_api::proto::ListTariffsRequest;
use billing_api::proto::tariffs_client::TariffsClient;
use billing_api::{Config, StartError, bind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::world::{FRONTEND, World, by, config};

/// An authority and files with what it signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self { issuer, files: tempfile::tempdir().expect("a directory") }
    }

    /// A certificate and its key in PEM.
    fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    /// Settings of a server with a certificate of this authority.
    fn serve(&self, config: &mut Config) {
        let (certificate, key) = self.sign("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        config.tls_cert = Some(self.file("server.crt", &certificate));
        config.tls_key = Some(self.file("server.key", &key));
    }

    fn trusted(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.issuer.pem())).domain_name("localhost")
    }
}

/// Lists the tariffs, or tells why not.
async fn call(world: &World, tls: ClientTlsConfig) -> Result<usize, String> {
    let url = format!("https://{}", world.address);
    let endpoint = Endpoint::from_shared(url).expect("a URL").tls_config(tls).expect("sound certificates");
    let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let answer = TariffsClient::new(channel).list_tariffs(by(FRONTEND, ListTariffsRequest {})).await;
    answer.map(|answer| answer.into_inner().tariffs.len()).map_err(|status| format!("{status:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_the_server_speaks_tls_only() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let world = World::with(|config| authority.serve(config)).await;
    assert_eq!(call(&world, authority.trusted()).await, Ok(3));
    call(&world, stranger.trusted()).await.expect_err("a client trusts its own authority only");
    world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect_err("no plain text");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_client_authority_only_its_clients_are_heard() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let world = World::with(|config| {
        authority.serve(config);
        config.tls_client_ca = Some(authority.file("clients.pem", &authority.issuer.pem()));
    })
    .await;
    let identity = |signer: &Authority| {
        let (certificate, key) = signer.sign("frontend", ExtendedKeyUsagePurpose::ClientAuth);
        Identity::from_pem(certificate, key)
    };
    assert_eq!(call(&world, authority.trusted().identity(identity(&authority))).await, Ok(3));
    call(&world, authority.trusted()).await.expect_err("no certificate");
    call(&world, authority.trusted().identity(identity(&stranger))).await.expect_err("of another authority");
}

#[tokio::test]
async fn broken_certificates_are_found_at_the_start() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = Authority::new();
    let mut sound = config();
    authority.serve(&mut sound);
    let garbage = authority.file("garbage.pem", "this is no PEM");
    let missing = authority.files.path().join("missing.pem");
    let (_, other_key) = authority.sign("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    let other_key = authority.file("other.key", &other_key);

    let cases: [(Config, &str); 7] = [
        (Config { tls_key: None, ..sound.clone() }, "API_TLS_KEY"),
        (Config { tls_cert: None, ..sound.clone() }, "API_TLS_CERT"),
        (Config { tls_client_ca: Some(garbage.clone()), ..config() }, "API_TLS_CERT"),
        (Config { tls_cert: Some(missing), ..sound.clone() }, "API_TLS_CERT"),
        (Config { tls_cert: Some(garbage.clone()), ..sound.clone() }, "API_TLS_CERT and API_TLS_KEY"),
        (Config { tls_key: Some(other_key), ..sound.clone() }, "API_TLS_CERT and API_TLS_KEY"),
        (Config { tls_client_ca: Some(garbage), ..sound.clone() }, "API_TLS_CLIENT_CA"),
    ];
    for (config, variable) in cases {
        let error = bind(config).await.err().expect("wrong");
        assert!(matches!(error, StartError::Setting { variable: named, .. } if named == variable), "{error:?}");
    }
    bind(sound).await.expect("what was not spoiled is fine");
}
