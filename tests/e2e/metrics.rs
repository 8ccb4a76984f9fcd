//! What Prometheus reads, by a real Prometheus: every query of the dashboards and of the alerts is about something that the
//! roles tell.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use billing_api::proto::period::Length;
use regex_lite::Regex;
use serde_json::Value;
use testkit::{Process, eventually};
use url::Url;

use crate::cinema::{CARD, Cinema};
use crate::system::{System, listening};

const PATIENCE: Duration = Duration::from_secs(60);

/// Charged without 3-D Secure, and refused.
const REFUSED: &str = "4000056655665556";

/// Told from the first time on that it happens; the timetable's by the beat that leads, which is another one here.
const RARE: [&str; 5] = [
    "celeriac_parked_messages_total",
    "celeriac_server_outages_total",
    "celeriac_beat_ticks_total",
    "celeriac_beat_lag_seconds_bucket",
    "celeriac_beat_lag_seconds_count",
];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path).canonicalize().unwrap()
}

/// The queries of all dashboards and alerts.
fn queries() -> Vec<String> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(deploy("grafana")).unwrap() {
        let board: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().unwrap();
            found.extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
        }
    }
    let rules: Value = serde_yaml_ng::from_slice(&std::fs::read(deploy("prometheus/alerts.yml")).unwrap()).unwrap();
    for group in rules["groups"].as_array().unwrap() {
        let rules = group["rules"].as_array().unwrap();
        found.extend(rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()));
    }
    found
}

struct Prometheus {
    _process: Process,
    _directory: tempfile::TempDir,
    url: String,
    http: reqwest::Client,
}

impl Prometheus {
    /// Reads these every second, and has the rules of `deploy/`.
    async fn start(targets: &[SocketAddr]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n  - job_name: \
             billing\n    static_configs: [{{targets: [{}]}}]\n",
            deploy("prometheus/alerts.yml").display(),
            targets.join(", ")
        );
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let address = format!("127.0.0.1:{}", testkit::free_port());
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::spawn("prometheus", command);
        let prometheus = Self {
            _process: process,
            _directory: directory,
            url: format!("http://{address}"),
            http: reqwest::Client::new(),
        };
        eventually(PATIENCE, async || prometheus.http.get(format!("{}/-/ready", prometheus.url)).send().await.is_ok())
            .await;
        prometheus
    }

    async fn get(&self, path: &str, query: &str) -> Value {
        let mut url = Url::parse(&format!("{}/api/v1/{path}", self.url)).unwrap();
        url.query_pairs_mut().append_pair("query", query);
        let said: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(said["status"], "success", "{query}: {said}");
        said["data"].clone()
    }

    /// The value of a query that has one.
    async fn value(&self, query: &str) -> Option<f64> {
        let said = self.get("query", query).await;
        said["result"][0]["value"][1].as_str().and_then(|value| value.parse().ok())
    }
}

fn promtool(arguments: &[&str]) {
    let checked = Command::new("promtool").args(arguments).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_what_dashboards_and_alerts_ask_for() {
    let (rules, config) = (deploy("prometheus/alerts.yml"), deploy("prometheus/prometheus.yml"));
    promtool(&["check", "rules", &rules.display().to_string()]);
    promtool(&["check", "config", &config.display().to_string()]);

    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    let probed = [("HEALTH_LISTEN", "127.0.0.1:0")];
    let mut roles = Vec::new();
    let mut addresses = Vec::new();
    for name in ["api", "worker", "beat"] {
        let mut role = system.another(name, &probed).await;
        addresses.push(listening(&mut role).await);
        roles.push(role);
    }
    let line = roles[0].wait_for_line("the API listens", PATIENCE).await;
    let api: SocketAddr = line.rsplit("address=").next().unwrap().trim().parse().unwrap();
    let prometheus = Prometheus::start(&addresses).await;

    let cinema = Cinema::connect(api, system.sandbox).await;
    let (payer, poor) = (cinema.sign_up().await, cinema.sign_up().await);
    let paid = cinema.buy(&payer, CARD, Length::Months(1)).await;
    cinema.outcome(&paid.payment_id, PATIENCE).await;
    let refused = cinema.buy(&poor, REFUSED, Length::Months(1)).await;
    cinema.outcome(&refused.payment_id, PATIENCE).await;

    for (query, expected) in [
        (r#"sum(billing_payments_total{state="succeeded"})"#, 1.0),
        (r#"sum(billing_payments_total{state="declined",reason_group="soft"})"#, 1.0),
        ("max(billing_receipts_missing)", 0.0),
        ("max(billing_reconciliation_open)", 0.0),
        (r#"sum(billing_refunds_total{state="failed",source="ours"})"#, 0.0),
        (r#"sum(billing_notifications_total{kind="pay",verdict="orphan"})"#, 0.0),
        (r#"sum(messaging_client_sent_messages_total{messaging_destination_name="payments",error_type=""})"#, 2.0),
    ] {
        eventually(PATIENCE, async || match prometheus.value(query).await {
            Some(value) if value.total_cmp(&expected).is_eq() => Ok(()),
            other => Err(format!("{query}: {other:?}, not {expected}")),
        })
        .await;
    }

    let named = Regex::new("(billing|celeriac|messaging)_[a-z_]+").unwrap();
    let by = Regex::new(r"by \([^)]*\)|\{[^}]*\}").unwrap();
    for query in queries() {
        prometheus.get("query", &query).await;
        let without_labels = by.replace_all(&query, "").into_owned();
        let names: BTreeSet<_> = named.find_iter(&without_labels).map(|found| found.as_str()).collect();
        for name in names.into_iter().filter(|name| !RARE.contains(name)) {
            eventually(PATIENCE, async || {
                prometheus.value(&format!("count({name})")).await.ok_or(format!("{name} is told by nobody"))
            })
            .await;
        }
    }
    let told = prometheus.get("rules", "").await.to_string();
    assert!(!told.contains(r#""health":"err""#), "{told}");
}
