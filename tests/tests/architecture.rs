//! The crate graph of DESIGN §2: services → {core, nips, utils} → models, and only the root names pgrx.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand};

const MIDDLE: [&str; 3] = ["core", "nips", "utils"];
const SERVICES: [&str; 6] = ["finder", "monitor", "refresher", "seeder", "synchronizer", "validator"];

/// Every edge between crates of the product, sorted. A new edge is a decision: make it here too.
const EDGES: [&str; 32] = [
    "bigbrotr -> bigbrotr-core",
    "bigbrotr -> bigbrotr-finder",
    "bigbrotr -> bigbrotr-models",
    "bigbrotr -> bigbrotr-monitor",
    "bigbrotr -> bigbrotr-nips",
    "bigbrotr -> bigbrotr-refresher",
    "bigbrotr -> bigbrotr-seeder",
    "bigbrotr -> bigbrotr-synchronizer",
    "bigbrotr -> bigbrotr-utils",
    "bigbrotr -> bigbrotr-validator",
    "bigbrotr-core -> bigbrotr-models",
    "bigbrotr-finder -> bigbrotr-core",
    "bigbrotr-finder -> bigbrotr-models",
    "bigbrotr-finder -> bigbrotr-nips",
    "bigbrotr-finder -> bigbrotr-utils",
    "bigbrotr-monitor -> bigbrotr-core",
    "bigbrotr-monitor -> bigbrotr-models",
    "bigbrotr-monitor -> bigbrotr-nips",
    "bigbrotr-monitor -> bigbrotr-utils",
    "bigbrotr-nips -> bigbrotr-models",
    "bigbrotr-refresher -> bigbrotr-core",
    "bigbrotr-seeder -> bigbrotr-core",
    "bigbrotr-seeder -> bigbrotr-models",
    "bigbrotr-synchronizer -> bigbrotr-core",
    "bigbrotr-synchronizer -> bigbrotr-models",
    "bigbrotr-synchronizer -> bigbrotr-nips",
    "bigbrotr-synchronizer -> bigbrotr-utils",
    "bigbrotr-utils -> bigbrotr-models",
    "bigbrotr-validator -> bigbrotr-core",
    "bigbrotr-validator -> bigbrotr-models",
    "bigbrotr-validator -> bigbrotr-nips",
    "bigbrotr-validator -> bigbrotr-utils",
];

type Edge = (String, String);

/// The rule an edge breaks, if any. An edge is a dependency of any kind, on a crate of ours or on one of pgrx.
fn violation(from: &str, to: &str) -> Option<&'static str> {
    if to.starts_with("pgrx") {
        return (from != "bigbrotr").then_some("only the root names pgrx");
    }
    let layer = |name: &str| match name.strip_prefix("bigbrotr-") {
        None => Some(3),
        Some("models") => Some(0),
        Some(name) if MIDDLE.contains(&name) => Some(1),
        Some(name) if SERVICES.contains(&name) => Some(2),
        Some(_) => None,
    };
    match (layer(from), layer(to)) {
        (Some(from), Some(to)) if to > from => Some("an upward edge"),
        (Some(from), Some(to)) if to == from => Some("a lateral edge"),
        (Some(_), Some(_)) => None,
        _ => Some("a crate that has no place in the diamond"),
    }
}

fn violations(edges: &BTreeSet<Edge>) -> Vec<String> {
    let broken = |(from, to): &Edge| violation(from, to).map(|rule| format!("{from} -> {to}: {rule}"));
    edges.iter().filter_map(broken).collect()
}

/// The edges of the workspace, dev- and build-dependencies included, without those of `tests` and `benches`.
fn workspace_edges() -> BTreeSet<Edge> {
    let manifest = bigbrotr_tests::paths::workspace_root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata works");
    let ours: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let mut edges = BTreeSet::new();
    for package in &metadata.packages {
        if ["bigbrotr-tests", "bigbrotr-benches"].contains(&package.name.as_str()) {
            continue;
        }
        for dependency in &package.dependencies {
            assert_ne!(dependency.kind, DependencyKind::Unknown);
            if ours.contains(&dependency.name) || dependency.name.starts_with("pgrx") {
                edges.insert((package.name.to_string(), dependency.name.clone()));
            }
        }
    }
    edges
}

fn expected() -> BTreeSet<Edge> {
    let pair = |edge: &&str| edge.split_once(" -> ").map(|(from, to)| (from.to_owned(), to.to_owned()));
    EDGES.iter().filter_map(pair).collect()
}

#[test]
fn edges_are_exactly_those_decided() {
    let found: BTreeSet<_> = workspace_edges().into_iter().filter(|(_, to)| !to.starts_with("pgrx")).collect();
    let show = |edges: &BTreeSet<Edge>| edges.iter().map(|(from, to)| format!("{from} -> {to}")).collect::<Vec<_>>();
    assert_eq!(show(&found), EDGES);
}

#[test]
fn diamond_holds() {
    assert_eq!(violations(&workspace_edges()), Vec::<String>::new());
}

#[test]
fn only_the_root_names_pgrx() {
    let naming: BTreeSet<_> =
        workspace_edges().into_iter().filter(|(_, to)| to.starts_with("pgrx")).map(|(from, _)| from).collect();
    assert_eq!(naming, BTreeSet::from(["bigbrotr".to_owned()]));
}

#[test]
fn nothing_depends_on_the_test_crates() {
    let on_tests = |(_, to): &Edge| ["bigbrotr-tests", "bigbrotr-benches"].contains(&to.as_str());
    assert!(!workspace_edges().iter().any(on_tests));
}

#[test]
fn doctored_graphs_are_detected() {
    for (from, to, rule) in [
        ("bigbrotr-models", "bigbrotr-core", "an upward edge"),
        ("bigbrotr-utils", "bigbrotr-monitor", "an upward edge"),
        ("bigbrotr-finder", "bigbrotr", "an upward edge"),
        ("bigbrotr-nips", "bigbrotr-utils", "a lateral edge"),
        ("bigbrotr-seeder", "bigbrotr-validator", "a lateral edge"),
        ("bigbrotr-synchronizer", "pgrx", "only the root names pgrx"),
        ("bigbrotr-models", "pgrx-pg-sys", "only the root names pgrx"),
        ("bigbrotr-core", "bigbrotr-tests", "a crate that has no place in the diamond"),
        ("bigbrotr-archiver", "bigbrotr-models", "a crate that has no place in the diamond"),
    ] {
        let mut edges = expected();
        assert_eq!(violations(&edges), Vec::<String>::new());
        assert!(edges.insert((from.to_owned(), to.to_owned())), "{from} -> {to} is an edge already");
        assert_eq!(violations(&edges), [format!("{from} -> {to}: {rule}")]);
    }
}
