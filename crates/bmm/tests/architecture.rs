//! Keeps the table of `docs/architecture.md`: which crate may use which, and which heavy dependency has one room only.

use std::{collections::BTreeMap, process::Command};

/// Programs for developers, which no user runs.
const DEVELOPERS: [&str; 3] = ["bmm-fuzz", "bmm-sim", "xtask"];

/// Edges between our crates, and the heavy dependencies of each.
fn table() -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let text = include_str!("../../../docs/architecture.md");
    let words = |cell: &str| -> Vec<String> {
        cell.split(',').map(|word| word.trim().trim_matches('`').to_owned()).filter(|word| !word.is_empty()).collect()
    };
    text.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            assert_eq!(cells.len(), 4, "four cells: {line}");
            (cells[0].trim().trim_matches('`').to_owned(), (words(cells[2]), words(cells[3])))
        })
        .collect()
}

/// Ordinary (not dev, not build) dependencies of each package of the workspace.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let list = |value: &serde_json::Value| value.as_array().expect("an array").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let names = list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
                .collect();
            (package["name"].as_str().expect("a name").to_owned(), names)
        })
        .collect()
}

#[test]
fn every_edge_is_in_the_table() {
    let table = table();
    let dependencies = dependencies();
    for (name, used) in &dependencies {
        let (allowed, _) = table.get(name).unwrap_or_else(|| panic!("{name} has no row in docs/architecture.md"));
        for edge in used.iter().filter(|edge| table.contains_key(*edge)) {
            let short = edge.trim_start_matches("bmm-");
            assert!(
                allowed.iter().any(|word| word == "all" || word == short),
                "{name} uses {edge}, which docs/architecture.md does not allow"
            );
        }
    }
    for name in table.keys() {
        assert!(dependencies.contains_key(name), "docs/architecture.md lists {name}, which is not in the workspace");
    }
}

#[test]
fn heavy_dependencies_stay_in_their_rooms() {
    let dependencies = dependencies();
    for (room, (_, heavy)) in table() {
        for dependency in heavy {
            assert!(dependencies[&room].contains(&dependency), "{room} should have {dependency}");
            let others = |name: &str| name != room && !DEVELOPERS.contains(&name);
            for (name, used) in dependencies.iter().filter(|(name, _)| others(name)) {
                assert!(!used.contains(&dependency), "{name} uses {dependency}, which belongs to {room} alone");
            }
        }
    }
}
