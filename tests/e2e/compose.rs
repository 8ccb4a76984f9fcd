//! `docker-compose.yml`, as far as it can be checked without containers: it parses, and every command and variable in it
//! is one that the binary knows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use testkit::Process;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    container_name: Option<String>,
    #[serde(default)]
    healthcheck: Option<Healthcheck>,
}

#[derive(Deserialize)]
struct Healthcheck {
    test: Vec<String>,
}

fn compose() -> Compose {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml");
    let text = std::fs::read_to_string(file).unwrap();
    // Merge keys (`<<`) are of YAML 1.1: applied first, then the types.
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    value.apply_merge().unwrap();
    serde_yaml_ng::from_value(value).unwrap()
}

#[test]
fn the_whole_system_is_there_and_workers_can_be_scaled() {
    let services = compose().services;
    for name in ["postgres", "rabbitmq", "redis", "api", "worker", "beat", "admin", "dashboard", "flower", "sandbox"] {
        assert!(services.contains_key(name), "{name} is missing");
    }
    assert!(services["worker"].container_name.is_none(), "a name of its own allows only one worker");
}

#[test]
fn whoever_stays_up_has_a_health_check() {
    for (name, service) in compose().services {
        assert_eq!(service.healthcheck.is_some(), name != "migrate", "{name}");
    }
}

/// The port that is asked is the one that answers.
#[test]
fn the_health_checks_of_the_roles_ask_the_ports_where_those_listen() {
    let services = compose().services;
    for (role, variable) in [
        ("api", "API_LISTEN"),
        ("sandbox", "SANDBOX_LISTEN"),
        ("dashboard", "DASHBOARD_LISTEN"),
        ("admin", "ADMIN_LISTEN"),
        ("worker", "HEALTH_LISTEN"),
        ("beat", "HEALTH_LISTEN"),
    ] {
        let service = &services[role];
        let test = &service.healthcheck.as_ref().unwrap().test;
        assert_eq!(test[..3], ["CMD", "billing", "health"], "{role}");
        let port = service.environment[variable].rsplit_once(':').unwrap().1;
        assert!(test[3].contains(&format!("://127.0.0.1:{port}")), "{role}: {test:?}");
    }
}

#[tokio::test]
async fn every_role_runs_a_command_of_the_binary_with_variables_that_it_reads() {
    let ours = compose().services.into_values().filter(|service| service.image.starts_with("billing:"));
    let (mut help, mut used) = (String::new(), BTreeMap::new());
    for service in ours {
        let role = service.command.first().expect("every role names its subcommand").clone();
        let mut process = Process::billing(&[&role, "--help"], |_| ()).await;
        assert!(process.wait(Duration::from_secs(30)).await.success(), "billing {role}: {}", process.output());
        help.push_str(&process.output());
        used.extend(service.environment);
    }
    for variable in used.keys() {
        assert!(help.contains(&format!("[env: {variable}")), "no role of the compose file reads {variable}");
    }
}
