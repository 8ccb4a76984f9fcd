//! `deploy/kubernetes`, as far as it can be checked without a cluster: the manifests fit each other, and every command,
//! variable and queue in them is one that the binary knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize as _;
use serde_yaml_ng::Value;
use testkit::Process;

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes"))
}

/// The documents of one file.
fn documents(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(directory().join(file)).expect("the file is there");
    serde_yaml_ng::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML")).collect()
}

/// The files that `kubectl apply -k` applies.
fn resources() -> Vec<String> {
    let kustomization = &documents("kustomization.yaml")[0];
    serde_yaml_ng::from_value(kustomization["resources"].clone()).expect("names of files")
}

fn all() -> Vec<Value> {
    resources().iter().flat_map(|file| documents(file)).collect()
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> BTreeMap<&'a str, &'a Value> {
    all.iter().filter(|one| one["kind"] == kind).map(|one| (text(&one["metadata"]["name"]), one)).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text was expected: {value:?}"))
}

fn container(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]["containers"][0]
}

/// What a container is given by name.
fn variables(container: &Value) -> BTreeMap<&str, &str> {
    let list = container["env"].as_sequence().map_or(&[][..], Vec::as_slice);
    list.iter().map(|one| (text(&one["name"]), text(&one["value"]))).collect()
}

fn queues(worker: &Value) -> BTreeSet<&str> {
    variables(container(worker))["WORKER_QUEUES"].split(',').collect()
}

/// A file that the kustomization does not name is never applied.
#[test]
fn every_manifest_is_applied() {
    let there: BTreeSet<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            name.ends_with(".yaml") && !["kustomization.yaml", "secret.example.yaml"].contains(&name.as_str())
        })
        .collect();
    assert_eq!(there, resources().into_iter().collect());
}

#[tokio::test]
async fn every_role_runs_a_command_of_the_binary_with_variables_that_it_reads() {
    let all = all();
    let (mut help, mut used) = (String::new(), BTreeSet::new());
    let workloads = of_kind(&all, "Deployment").into_values().chain(of_kind(&all, "Job").into_values());
    for workload in workloads {
        let role = text(&container(workload)["args"][0]);
        let mut process = Process::billing(&[role, "--help"], |_| ()).await;
        assert!(process.wait(Duration::from_secs(30)).await.success(), "billing {role}: {}", process.output());
        help.push_str(&process.output());
        used.extend(variables(container(workload)).into_keys().map(str::to_owned));
    }
    let secret = documents("secret.example.yaml");
    for shared in [&secret[0]["stringData"], &of_kind(&all, "ConfigMap")["billing"]["data"]] {
        used.extend(shared.as_mapping().unwrap().keys().map(|key| text(key).to_owned()));
    }
    for variable in used {
        assert!(help.contains(&format!("[env: {variable}")), "no role reads {variable}");
    }
}

/// A queue that nobody takes keeps its tasks for ever.
#[test]
fn every_queue_is_taken_by_some_worker() {
    let all = all();
    let deployments = of_kind(&all, "Deployment");
    let workers = deployments.values().filter(|one| container(one)["args"][0] == "worker");
    let taken: BTreeSet<&str> = workers.flat_map(|worker| queues(worker)).collect();
    assert_eq!(taken, BTreeSet::from(["billing", billing::tasks::LOOKUPS, "payments", "renewals"]));
}

/// A queue that grows gets more of those workers that take it.
#[test]
fn workers_are_scaled_by_the_queues_that_they_take() {
    let all = all();
    let deployments = of_kind(&all, "Deployment");
    let scaled = of_kind(&all, "ScaledObject");
    assert!(!scaled.is_empty());
    for object in scaled.values() {
        let name = text(&object["spec"]["scaleTargetRef"]["name"]);
        let worker = deployments[name];
        assert!(worker["spec"]["replicas"].is_null(), "{name}: two would decide how many there are");
        for trigger in object["spec"]["triggers"].as_sequence().unwrap() {
            let queue = text(&trigger["metadata"]["queueName"]);
            assert!(queues(worker).contains(queue), "{name} does not take {queue}");
        }
    }
}

/// The ports that are asked are those where the role listens, and a stop leaves more time than the role takes.
#[test]
fn probes_services_and_stops_fit_the_roles() {
    let all = all();
    let deployments = of_kind(&all, "Deployment");
    for (name, deployment) in &deployments {
        let container = container(deployment);
        let listens: BTreeSet<u64> =
            variables(container).iter().filter(|(key, _)| key.ends_with("_LISTEN")).map(|(_, at)| port(at)).collect();
        let ports = container["ports"].as_sequence().unwrap();
        let named: BTreeMap<&str, u64> =
            ports.iter().map(|one| (text(&one["name"]), one["containerPort"].as_u64().unwrap())).collect();
        assert_eq!(named.values().copied().collect::<BTreeSet<_>>(), listens, "{name}");
        assert!(named.contains_key(text(&container["readinessProbe"]["httpGet"]["port"])), "{name}");
        if let Some(timeout) = variables(container).get("WORKER_SHUTDOWN_TIMEOUT") {
            let seconds: u64 = timeout.trim_end_matches('s').parse().unwrap();
            let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
            assert!(grace > Some(seconds), "{name} is killed while it finishes its tasks");
        }
    }
    for (name, service) in of_kind(&all, "Service") {
        let target = deployments[text(&service["spec"]["selector"]["app"])];
        for wanted in service["spec"]["ports"].as_sequence().unwrap() {
            let ports = container(target)["ports"].as_sequence().unwrap();
            assert!(ports.iter().any(|one| one["name"] == wanted["targetPort"]), "{name}: {wanted:?}");
        }
    }
}

fn port(address: &str) -> u64 {
    address.rsplit_once(':').expect("address:port").1.parse().expect("a port")
}

/// Nothing in a pod may become more than it is.
#[test]
fn every_container_has_the_least_rights() {
    let all = all();
    let workloads = of_kind(&all, "Deployment").into_values().chain(of_kind(&all, "Job").into_values());
    for workload in workloads {
        let pod = &workload["spec"]["template"]["spec"];
        let name = text(&workload["metadata"]["name"]);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        let security = &container(workload)["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
        assert!(!container(workload)["resources"]["limits"]["memory"].is_null(), "{name} has no limit of memory");
    }
}
