//! What workers and beats say to who looks after them: probes, and the status that they end with.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::Value;
use testkit::{FaultProxy, Process, Signal, eventually};

use crate::system::{System, listening};

const PATIENCE: Duration = Duration::from_secs(60);

/// A role that is asked how it is.
struct Probed {
    process: Process,
    address: String,
    http: reqwest::Client,
}

impl Probed {
    async fn start(role: &str, environment: &[(&str, &str)]) -> Self {
        let mut process = Process::billing(&[role], |command| {
            command.env("HEALTH_LISTEN", "127.0.0.1:0").envs(environment.iter().copied());
        })
        .await;
        let address = listening(&mut process).await.to_string();
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { process, address, http: reqwest::Client::new() }
    }

    async fn ask(&self, probe: &str) -> (u16, Value) {
        let answer = self.http.get(format!("http://{}/{probe}", self.address)).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The details, once the status is this one.
    async fn ready(&self, status: u16) -> Value {
        eventually(PATIENCE, async || match self.ask("readyz").await {
            (told, details) if told == status => Ok(details),
            other => Err(other),
        })
        .await
    }

    /// The status of `billing health`.
    async fn health(&self) -> Option<i32> {
        let url = format!("http://{}/readyz", self.address);
        Process::billing(&["health", &url], |_| ()).await.wait(PATIENCE).await.code()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_says_that_payments_wait_for_a_gateway_that_refuses_us() {
    let mut sandbox = Process::billing(&["sandbox"], |command| {
        command.env("SANDBOX_LISTEN", "127.0.0.1:0");
    })
    .await;
    let gateway = format!("http://{}", listening(&mut sandbox).await);
    let database = testkit::postgres().await;
    let mut migrate = Process::billing(&["migrate"], |command| {
        command.env("DATABASE_URL", database.url());
    })
    .await;
    assert!(migrate.wait(PATIENCE).await.success(), "{}", migrate.output());
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let broker = vhost.amqp_url();
    let worker = Probed::start(
        "worker",
        &[
            ("DATABASE_URL", database.url()),
            ("BROKER_URL", &broker),
            ("RESULT_BACKEND", redis.url()),
            ("GATEWAY_URL", &gateway),
            ("CLOUDPAYMENTS_API_SECRET", "wrong"),
        ],
    )
    .await;
    let waits = eventually(PATIENCE, async || {
        let details = worker.ready(200).await;
        match details["gateway"].as_array().map(Vec::as_slice) {
            Some([waits]) => Ok(waits.clone()),
            _ => Err(details),
        }
    })
    .await;
    assert_eq!((&waits["circuit"], &waits["state"]), (&"gateway".into(), &"open".into()));
    assert!(waits["reason"].as_str().unwrap().contains("Public ID"), "{waits}");
    assert!(waits["until"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_beats_say_whether_they_are_ready_and_why_not() {
    let database = testkit::postgres().await;
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let proxy = FaultProxy::start(&vhost.amqp_url()).await;
    let broker = format!("{}?heartbeat=1", proxy.url(&vhost.amqp_url()));
    let environment =
        [("DATABASE_URL", database.url()), ("BROKER_URL", broker.as_str()), ("RESULT_BACKEND", redis.url())];
    let (mut worker, beat) = tokio::join!(Probed::start("worker", &environment), Probed::start("beat", &environment));

    let details = worker.ready(200).await;
    assert_eq!(
        details["consuming"],
        serde_json::json!({"billing": true, "lookups": true, "payments": true, "renewals": true})
    );
    assert_eq!(details["reasons"], serde_json::json!([]));
    assert_eq!(worker.health().await, Some(0));
    eventually(PATIENCE, async || beat.ready(200).await["leads"] == true).await;

    proxy.pause();
    for role in [&worker, &beat] {
        let details = role.ready(503).await;
        assert!(!details["reasons"].as_array().unwrap().is_empty());
        assert!(!details.to_string().contains("guest"), "{details}");
        assert_eq!(role.ask("livez").await.0, 200, "waiting for a broker is no reason to be killed");
    }
    assert_eq!(worker.health().await, Some(1));
    proxy.resume();
    worker.ready(200).await;
    beat.ready(200).await;

    worker.process.signal(Signal::Quit);
    assert!(worker.process.wait(PATIENCE).await.success(), "{}", worker.process.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_done_its_part_ends_with_75() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    // The beat sends something every second.
    let mut worker = system.worker_with("brief", &[("WORKER_MAX_TASKS", "2")]).await;
    let ended = worker.wait(PATIENCE).await;
    assert_eq!(ended.code(), Some(75), "{}", worker.output());
    assert!(worker.output().contains("2 tasks have ended"), "{}", worker.output());
}

/// An authority, and what it signed, as files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, files: tempfile::tempdir().unwrap() };
        std::fs::write(authority.file("ca"), authority.issuer.pem()).unwrap();
        authority.sign("server", ExtendedKeyUsagePurpose::ServerAuth);
        authority.sign("client", ExtendedKeyUsagePurpose::ClientAuth);
        authority
    }

    /// Writes a certificate for `NAME.example` and its key.
    fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) {
        let mut params = CertificateParams::new([format!("{name}.example")]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        std::fs::write(self.file(name), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).to_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_an_api_behind_tls() {
    let (database, vhost, redis) = tokio::join!(testkit::postgres(), testkit::rabbitmq(), testkit::redis());
    let (ours, strangers) = (Authority::new(), Authority::new());
    let (ca, cert, key) = (ours.file("ca"), ours.file("server"), ours.file("server.key"));
    let (client, client_key) = (ours.file("client"), ours.file("client.key"));
    let (other, other_ca) = (strangers.file("server"), strangers.file("ca"));
    let own = ("API_TLS_CERT", cert.as_str());
    let (by_ca, named) = (("HEALTH_TLS_CA", ca.as_str()), ("HEALTH_TLS_NAME", "server.example"));
    let shown = [("HEALTH_TLS_CERT", client.as_str()), ("HEALTH_TLS_KEY", client_key.as_str())];
    let mutual = ("API_TLS_CLIENT_CA", ca.as_str());

    for client_ca in [None, Some(mutual)] {
        let mut api = Process::billing(&["api"], |command| {
            command.env("DATABASE_URL", database.url()).env("BROKER_URL", vhost.amqp_url());
            command.env("RESULT_BACKEND", redis.url()).env("API_LISTEN", "127.0.0.1:0");
            command.envs([own, ("API_TLS_KEY", key.as_str())]).envs(client_ca);
        })
        .await;
        let address = listening(&mut api).await;
        let ask = async |scheme: &str, settings: &[(&str, &str)]| {
            let url = format!("{scheme}://{address}");
            let mut asked = Process::billing(&["health", &url], |command| {
                command.envs(settings.iter().copied());
            })
            .await;
            (asked.wait(PATIENCE).await.code(), asked.output())
        };
        let identity: &[_] = if client_ca.is_some() { &shown } else { &[] };
        // As the health check of the compose file does, once it is ready.
        let settings: Vec<_> = [own].into_iter().chain(identity.iter().copied()).collect();
        eventually(PATIENCE, async || match ask("grpc", &settings).await {
            (Some(0), _) => Ok(()),
            other => Err(other),
        })
        .await;
        for scheme in ["grpcs", "https"] {
            let settings: Vec<_> = [by_ca, named].into_iter().chain(identity.iter().copied()).collect();
            let (code, output) = ask(scheme, &settings).await;
            assert_eq!(code, Some(0), "{scheme}: {output}");
        }
        let refused: [(&str, Vec<(&str, &str)>); 5] = [
            ("grpcs", vec![]),
            ("grpcs", vec![by_ca]),
            ("grpcs", vec![("HEALTH_TLS_CA", &other_ca), named]),
            ("grpcs", vec![("API_TLS_CERT", &other)]),
            ("grpc", vec![]),
        ];
        for (scheme, settings) in refused {
            let settings: Vec<_> = settings.into_iter().chain(identity.iter().copied()).collect();
            let (code, output) = ask(scheme, &settings).await;
            assert_eq!(code, Some(1), "{scheme} with {settings:?}: {output}");
            assert!(output.contains("cannot be reached"), "{output}");
        }
        if client_ca.is_some() {
            let (code, output) = ask("grpcs", &[own]).await;
            assert_eq!(code, Some(1), "without a certificate of its own: {output}");
        }
    }
}
