//! Which crate may use which. The table is the one of ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crate, and which of ours its code (not its tests) may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kelly-schemas", &[]),
    ("kelly-directory", &[]),
    ("kelly-alerts", &["kelly-schemas"]),
    ("kelly-auth", &[]),
    ("kelly-stream", &["kelly-schemas", "kelly-directory"]),
    ("kelly-live", &["kelly-schemas", "kelly-auth", "kelly-stream"]),
    // Of the store only the projector, which writes down what was decided.
    ("kelly-control", &["kelly-schemas", "kelly-alerts", "kelly-stream", "kelly-sql"]),
    ("kelly-evaluate", &["kelly-schemas", "kelly-alerts", "kelly-control", "kelly-stream"]),
    ("kelly-notify", &["kelly-schemas", "kelly-stream", "kelly-control"]),
    ("kelly-sql", &["kelly-schemas", "kelly-directory"]),
    ("kelly-ingest", &["kelly-schemas", "kelly-auth", "kelly-stream", "kelly-sql"]),
    ("kelly-query", &["kelly-schemas", "kelly-alerts", "kelly-auth", "kelly-sql"]),
    (
        "kelly-api",
        &["kelly-schemas", "kelly-alerts", "kelly-auth", "kelly-control", "kelly-query", "kelly-live"],
    ),
    // The tools ask a running Kelly over HTTP; doctor, tail and dead letters also ask log and store themselves, because
    // they are for the time when no Kelly answers. Of ingest they read only its positions, of notifications their settings. They sign themselves in with tokens
    // they make.
    (
        "kelly-cli",
        &[
            "kelly-schemas",
            "kelly-alerts",
            "kelly-auth",
            "kelly-notify",
            "kelly-stream",
            "kelly-sql",
            "kelly-ingest",
        ],
    ),
    ("kelly-harness", &["kelly-schemas", "kelly-auth", "kelly-sql", "kelly-stream"]),
    (
        "kelly-bench",
        &[
            "kelly-schemas",
            "kelly-alerts",
            "kelly-control",
            "kelly-stream",
            "kelly-sql",
            "kelly-ingest",
            "kelly-query",
            "kelly-harness",
        ],
    ),
    (
        "kelly-fuzz",
        &[
            "kelly-schemas",
            "kelly-auth",
            "kelly-stream",
            "kelly-live",
            "kelly-ingest",
            "kelly-query",
            "kelly-api",
        ],
    ),
    (
        "kelly",
        &[
            "kelly-schemas",
            "kelly-alerts",
            "kelly-auth",
            "kelly-directory",
            "kelly-control",
            "kelly-live",
            "kelly-notify",
            "kelly-stream",
            "kelly-sql",
            "kelly-ingest",
            "kelly-query",
            "kelly-evaluate",
            "kelly-api",
            "kelly-cli",
        ],
    ),
];

/// Heavy library, and who may have it.
const OWNERS: &[(&str, &[&str])] = &[
    ("rdkafka", &["kelly-stream"]),
    ("fjall", &["kelly-stream"]),
    ("clickhouse", &["kelly-sql"]),
    ("libloading", &["kelly-sql"]),
    // Read where messages are decoded and where files are read, written where the store is.
    ("arrow-ipc", &["kelly-schemas", "kelly-sql", "kelly-cli"]),
    ("parquet", &["kelly-cli"]),
    ("axum", &["kelly-api"]),
    ("jsonwebtoken", &["kelly-auth"]),
    ("rustls", &["kelly-api"]),
    ("lettre", &["kelly-notify"]),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata runs in this workspace");
    metadata
        .packages
        .iter()
        .map(|package| {
            let normal = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), normal)
        })
        .collect()
}

#[test]
fn crates_use_only_those_they_may() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for (name, uses) in dependencies() {
        let may = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is not in the table: add it, with a reason"));
        for ours in uses.iter().filter(|dependency| dependency.starts_with("kelly")) {
            assert!(may.contains(&ours.as_str()), "{name} may not use {ours}");
        }
    }
}

#[test]
fn heavy_libraries_stay_with_their_owners() {
    let owners: BTreeMap<_, _> = OWNERS.iter().copied().collect();
    for (name, uses) in dependencies() {
        for library in &uses {
            if let Some(owners) = owners.get(library.as_str()) {
                assert!(owners.contains(&name.as_str()), "{library} belongs to {owners:?}, not to {name}");
            }
        }
    }
}

#[test]
fn plain_cargo_commands_mean_every_crate() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata runs in this workspace");
    let members: BTreeSet<_> = metadata.workspace_members.iter().collect();
    let default: BTreeSet<_> = metadata.workspace_default_members.iter().collect();
    assert_eq!(members, default);
}
