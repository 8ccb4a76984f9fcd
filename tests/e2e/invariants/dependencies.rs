//! Who may depend on whom.

use cargo_metadata::{Dependency, DependencyKind, MetadataCommand, Package};

const ROLES: [&str; 4] = ["billing-api", "billing-worker", "billing-beat", "billing-admin"];

/// A dependency between two crates of the workspace, or from one of them to the outside.
struct Edge {
    from: String,
    to: String,
    for_tests: bool,
    optional: bool,
}

impl Edge {
    fn new(package: &Package, dependency: &Dependency) -> Self {
        Self {
            from: package.name.to_string(),
            to: dependency.name.clone(),
            for_tests: dependency.kind == DependencyKind::Development,
            optional: dependency.optional,
        }
    }
}

fn members() -> Vec<Package> {
    MetadataCommand::new().no_deps().exec().expect("cargo reads this workspace").packages
}

fn edges() -> Vec<Edge> {
    let edges = |package: &Package| package.dependencies.iter().map(|to| Edge::new(package, to)).collect::<Vec<_>>();
    members().iter().flat_map(edges).collect()
}

/// Fails with all edges that a rule forbids.
#[track_caller]
fn forbid(rule: &str, forbidden: impl Fn(&Edge) -> bool) {
    let edges = edges();
    let found: Vec<_> =
        edges.iter().filter(|edge| forbidden(edge)).map(|e| format!("{} -> {}", e.from, e.to)).collect();
    assert!(found.is_empty(), "{rule}: {}", found.join(", "));
}

fn is_member(name: &str) -> bool {
    members().iter().any(|package| *package.name == name)
}

#[test]
fn the_rules_below_speak_about_every_crate() {
    for package in members() {
        let name = package.name.as_str();
        let known = ["celeriac", "cloudpayments", "billing"].iter().any(|family| name.starts_with(family));
        assert!(
            known || ["dial", "listener", "testkit", "e2e"].contains(&name),
            "{name} is of no family: which invariants hold for it?"
        );
    }
    for name in [
        "celeriac",
        "cloudpayments",
        "cloudpayments-sandbox",
        "billing",
        "billing-worker",
        "dial",
        "listener",
        "testkit",
    ] {
        assert!(is_member(name), "{name} has gone, and its invariants with it");
    }
}

#[test]
fn the_engine_knows_nothing_about_billing() {
    forbid("celeriac* depends on no billing*", |edge| {
        edge.from.starts_with("celeriac") && (edge.to.starts_with("billing") || edge.to.starts_with("cloudpayments"))
    });
}

#[test]
fn the_gateway_crates_stand_alone() {
    // How connections come in is nobody's domain: the sandbox takes it from where every port has it.
    let allowed = |edge: &Edge| edge.from == "cloudpayments-sandbox" && edge.to == "listener";
    forbid("cloudpayments* depends on no sibling", |edge| {
        edge.from.starts_with("cloudpayments") && !edge.for_tests && is_member(&edge.to) && !allowed(edge)
    });
}

#[test]
fn the_listener_is_a_leaf_that_everybody_may_use() {
    forbid("listener depends on no sibling", |edge| edge.from == "listener" && is_member(&edge.to));
}

#[test]
fn the_way_to_servers_is_a_leaf() {
    forbid("dial depends on no sibling", |edge| edge.from == "dial" && is_member(&edge.to));
}

#[test]
fn one_place_moves_money() {
    // billing-api may, for the notifications: that it uses nothing else is checked in its sources.
    let allowed = ["billing-worker", "billing-api"];
    forbid("only billing-worker depends on the gateway's client", |edge| {
        edge.to == "cloudpayments" && !edge.for_tests && !allowed.contains(&edge.from.as_str())
    });
}

#[test]
fn client_and_sandbox_share_no_types() {
    forbid("a misspelled field must not hide on both sides", |edge| {
        let both = [edge.from.as_str(), edge.to.as_str()];
        both.contains(&"cloudpayments") && both.contains(&"cloudpayments-sandbox") && !edge.for_tests
    });
}

#[test]
fn roles_meet_only_in_billing_and_on_the_wire() {
    forbid("role crates never depend on each other", |edge| {
        ROLES.contains(&edge.from.as_str()) && ROLES.contains(&edge.to.as_str())
    });
}

#[test]
fn the_domain_knows_no_role() {
    let billing = ["billing-cli"].into_iter().chain(ROLES);
    let above: Vec<_> = billing.collect();
    forbid("billing depends on nothing above it", |edge| edge.from == "billing" && above.contains(&edge.to.as_str()));
    forbid("nothing depends on the binary", |edge| edge.to == "billing-cli" && edge.from != "e2e");
}

#[test]
fn testkit_is_for_tests() {
    forbid("testkit appears only under dev-dependencies", |edge| edge.to == "testkit" && !edge.for_tests);
}

#[test]
fn the_embedded_database_can_be_left_out() {
    forbid("pglite-oxide is an optional dependency of billing-cli", |edge| {
        edge.to == "pglite-oxide" && (edge.from != "billing-cli" || !edge.optional)
    });
    let cli = members().into_iter().find(|package| *package.name == "billing-cli").expect("a member");
    let brings_it = |enabled: &&String| enabled.contains("pglite-oxide");
    let features: Vec<_> = cli.features.iter().filter(|(_, enabled)| enabled.iter().any(|e| brings_it(&e))).collect();
    assert!(matches!(features[..], [(name, _)] if name == "embedded"), "features that bring it: {features:?}");
}
