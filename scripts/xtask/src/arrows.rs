//! The arrows of the layout, checked over `cargo metadata`.
//!
//! Each folder of crates may point at the folders below it; which crates of one folder may point at each other, what a
//! crate's closure must not hold, and where a foreign library lives, is listed here and nowhere else. What no graph can
//! show is looked for in the sources (`sources.rs`, `circles.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::{circles, sources};

/// Which crates a crate may name of its own folder; of folders below it may name any.
const ARROWS: &[(&str, &[&str])] = &[
    ("tidemill-blobs", &["core"]),
    ("tidemill-store", &["core"]),
    ("tidemill-runtime", &["core", "store"]),
    // The words, and what keeps rows and objects.
    ("tidemill-windows", &["spec"]),
    ("tidemill-rows", &["spec", "windows"]),
    ("tidemill-catalog", &["spec"]),
    ("tidemill-expressions", &["rows", "spec"]),
    ("tidemill-offline", &["expressions", "rows", "spec", "windows"]),
    ("tidemill-online", &["expressions", "rows", "spec", "windows"]),
    ("tidemill-pyrun", &["rows", "spec"]),
    ("tidemill-trees", &[]),
    ("tidemill-inference", &["pyrun", "rows", "spec", "trees"]),
    ("tidemill-stores", &["catalog", "offline", "online", "pyrun"]),
    ("tidemill-live", &["catalog", "offline", "online", "spec"]),
    // Crates that hold jobs: these few call one another, the others enqueue.
    ("tidemill-features", &["catalog", "live", "offline", "online", "pyrun", "rows", "spec", "windows"]),
    ("tidemill-ingest", &["catalog", "features", "offline", "online", "rows", "spec"]),
    ("tidemill-streams", &["catalog", "ingest", "offline", "spec"]),
    ("tidemill-removal", &["catalog", "features", "ingest", "live", "offline", "rows", "spec"]),
    ("tidemill-training", &["catalog", "offline", "rows", "spec"]),
    ("tidemill-registry", &["catalog", "inference", "live", "offline", "online", "pyrun", "rows", "spec"]),
    ("tidemill-monitor", &["catalog", "live", "offline", "online", "registry", "rows", "spec", "training"]),
    ("tidemill-pipeline", &["catalog", "offline", "pyrun", "rows", "spec"]),
    ("tidemill-upkeep", &["catalog", "offline"]),
    // The binary starts the roles.
    ("tidemill-cli", &["api", "dev", "fleet", "gateway", "generate", "serve"]),
];

/// Foreign libraries and the only crates that may name them as a dependency.
const HOMES: &[(&str, &[&str])] = &[
    ("apalis", &["tidemill-runtime"]),
    ("apalis-core", &["tidemill-runtime"]),
    ("axum", &["tidemill-api", "tidemill-serve"]),
    ("cel", &["tidemill-spec"]),
    ("clap", &["tidemill-cli"]),
    ("cron", &["tidemill-core"]),
    ("csv", &["tidemill-generate", "tidemill-ingest"]),
    ("duckdb", &["tidemill-expressions", "tidemill-offline"]),
    ("encoding_rs", &["tidemill-ingest"]),
    ("flate2", &["tidemill-ingest"]),
    ("object_store", &["tidemill-blobs"]),
    ("parquet", &["tidemill-rows", "tidemill-offline"]),
    ("prost", &["tidemill-proto"]),
    ("rcgen", &["tidemill-testkit"]),
    ("rdkafka", &["tidemill-generate", "tidemill-streams", "tidemill-testkit"]),
    ("redis", &["tidemill-online"]),
    ("rustls", &["tidemill-online"]),
    ("sqlparser", &["tidemill-spec"]),
    ("sqlx", &["tidemill-store", "tidemill-catalog", "tidemill-offline"]),
    ("tokio-rustls", &["tidemill-testkit"]),
    ("tracing-subscriber", &["tidemill-telemetry"]),
    ("zstd", &["tidemill-ingest"]),
];

/// What the engine's closure must not hold: it knows no rows, no Redis, no Kafka.
const NOT_ENGINE: &[&str] = &["arrow", "duckdb", "parquet", "rdkafka", "redis"];
/// What waits for something, or moves bytes.
const ASYNC_IO: &[&str] = &["hyper", "mio", "object_store", "redis", "sqlx", "tokio"];
/// What the arithmetic of windows must not hold: both stores call it, and serving links it.
const NOT_WINDOWS: &[&str] = &["arrow", "duckdb", "hyper", "mio", "object_store", "redis", "sqlx", "tokio"];

/// Crates whose closure must not hold these libraries.
const NEVER: &[(&str, &[&str])] = &[
    ("tidemill-serve", &["apalis", "rdkafka", "sqlx"]),
    ("tidemill-core", ASYNC_IO),
    ("tidemill-spec", ASYNC_IO),
    ("tidemill-windows", NOT_WINDOWS),
    ("tidemill-rows", ASYNC_IO),
    ("tidemill-blobs", NOT_ENGINE),
    ("tidemill-store", NOT_ENGINE),
    ("tidemill-runtime", NOT_ENGINE),
    ("tidemill-telemetry", NOT_ENGINE),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    features: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDependency>,
}

#[derive(Deserialize)]
struct NodeDependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

/// Prints every arrow that points the wrong way; fails when there is one.
pub(crate) fn check() -> anyhow::Result<ExitCode> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .context("cargo metadata did not start")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let ours: Vec<&Package> =
        metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id)).collect();
    let mut wrong = Vec::new();
    for package in &ours {
        wrong.extend(folder_arrows(package, &ours));
        wrong.extend(homes(package));
    }
    wrong.extend(closures(&metadata));
    wrong.extend(features_of_tests(&ours));
    wrong.extend(sources::check()?);
    wrong.extend(circles::check()?);
    for line in &wrong {
        println!("arrows: {line}");
    }
    println!("arrows: {} crates, {} wrong", ours.len(), wrong.len());
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `workers` → `jobs` → `engine`; `proto` is a leaf; `testkit` is for tests.
fn folder_arrows(package: &Package, ours: &[&Package]) -> Vec<String> {
    let level = |folder: &str| match folder {
        "engine" => 1,
        "jobs" => 2,
        "workers" => 3,
        _ => 0,
    };
    let from = folder(package);
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind.is_none());
    normal
        .filter_map(|dependency| ours.iter().find(|other| other.name == dependency.name))
        .filter(|target| {
            let to = folder(target);
            // Ids, clocks and verdicts, and tracing, are everybody's.
            let common = ["tidemill-core", "tidemill-telemetry"].contains(&target.name.as_str());
            let sideways =
                from == to && !common && package.name != "tidemill-testkit" && !drawn(package, target);
            let upwards = level(&to) > level(&from);
            upwards || sideways || target.name == "tidemill-testkit" || from == "proto"
        })
        .map(|target| format!("{} must not depend on {}", package.name, target.name))
        .collect()
}

/// Whether the layout has this arrow.
fn drawn(from: &Package, to: &Package) -> bool {
    let target = to.name.trim_start_matches("tidemill-");
    ARROWS.iter().any(|(name, may)| *name == from.name && may.contains(&target))
}

fn homes(package: &Package) -> Vec<String> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind.is_none())
        .filter_map(|dependency| HOMES.iter().find(|(library, _)| *library == dependency.name))
        .filter(|(_, may)| !may.contains(&package.name.as_str()) && package.name != "tidemill-testkit")
        .map(|(library, may)| format!("{} uses {library}, whose home is {}", package.name, may.join(", ")))
        .collect()
}

fn closures(metadata: &Metadata) -> Vec<String> {
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
    let nodes: BTreeMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let mut wrong = Vec::new();
    for (root, never) in NEVER {
        let Some((start, _)) = names.iter().find(|(_, name)| *name == root) else {
            wrong.push(format!("there is no crate {root} whose closure could be looked at"));
            continue;
        };
        let (mut seen, mut open) = (BTreeSet::new(), vec![*start]);
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let normal =
                |dependency: &&NodeDependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
            open.extend(nodes[id].deps.iter().filter(normal).map(|dependency| dependency.pkg.as_str()));
        }
        let held: BTreeSet<&str> = seen.iter().map(|id| names[id]).collect();
        wrong.extend(
            never
                .iter()
                .filter(|name| held.contains(*name))
                .map(|name| format!("the closure of {root} holds {name}")),
        );
    }
    wrong
}

/// Features that only tests ask for: with one, `cargo build` and `cargo test` would each build the library and all that
/// stands on it.
fn features_of_tests(ours: &[&Package]) -> Vec<String> {
    let dependencies =
        || ours.iter().flat_map(|package| package.dependencies.iter().map(move |of| (&package.name, of)));
    let mut given: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for (_, dependency) in dependencies().filter(|(_, dependency)| dependency.kind.is_none()) {
        given.entry(&dependency.name).or_default().extend(&dependency.features);
    }
    let mut wrong = Vec::new();
    for (package, dependency) in dependencies().filter(|(_, of)| of.kind.as_deref() == Some("dev")) {
        let Some(given) = given.get(dependency.name.as_str()) else { continue };
        let more = dependency.features.iter().filter(|feature| !given.contains(feature));
        wrong.extend(more.map(|feature| {
            format!("tests of {package} ask for {}/{feature}, which the program lacks", dependency.name)
        }));
    }
    wrong
}

/// The top folder a crate lives in.
fn folder(package: &Package) -> String {
    let root = std::env::current_dir().unwrap_or_default();
    package
        .manifest_path
        .strip_prefix(&format!("{}/", root.display()))
        .and_then(|path| path.split('/').next())
        .unwrap_or_default()
        .to_owned()
}
