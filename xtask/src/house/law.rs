//! The dependency law of ARCHITECTURE.md: which crate may name which, and which crates of others are kept out where.

use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};
use std::collections::{BTreeMap, BTreeSet};

/// For each crate, those of ours it may depend on, and for its tests those it may in addition.
///
/// A new arrow is a change of the design: it is drawn here and in ARCHITECTURE.md in the same commit.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("orlop-sys", &[], &[]),
    ("orlop-model", &[], &[]),
    ("orlop-usecases", &["orlop-model"], &["orlop-sim"]),
    ("orlop-store", &["orlop-model", "orlop-sys"], &["orlop-contract", "orlop-sim"]),
    ("orlop-sim", &["orlop-model"], &["orlop-contract"]),
    // Named by tests alone: what every implementation of a port must do.
    ("orlop-contract", &["orlop-model"], &[]),
    ("orlop-wire", &[], &[]),
    ("orlop-cgroups", &["orlop-wire", "orlop-sys"], &[]),
    // From cgroups it takes what is pure: the layout of the hierarchies, limits as writes, device rules as a program.
    ("orlop-plan", &["orlop-wire", "orlop-cgroups"], &["orlop-sys"]),
    ("orlop-spec", &["orlop-model", "orlop-plan"], &["orlop-cgroups", "orlop-exec", "orlop-sys"]),
    ("orlop-exec", &["orlop-sys", "orlop-wire"], &["orlop-plan"]),
    ("orlop-shim", &["orlop-sys", "orlop-exec", "orlop-wire", "orlop-cgroups"], &["orlop-plan"]),
    (
        "orlop-runtime-client",
        &["orlop-model", "orlop-sys", "orlop-wire", "orlop-plan", "orlop-spec", "orlop-cgroups"],
        &["orlop-contract", "orlop-sim", "orlop-testkit"],
    ),
    ("orlop-images", &["orlop-model", "orlop-sys"], &["orlop-contract", "orlop-sim", "orlop-testkit"]),
    ("orlop-netlink", &["orlop-sys"], &[]),
    ("orlop-cni-plugins", &["orlop-netlink", "orlop-sys"], &["orlop-testkit"]),
    (
        "orlop-network",
        &["orlop-model", "orlop-netlink", "orlop-cni-plugins", "orlop-sys"],
        &["orlop-contract", "orlop-sim", "orlop-testkit"],
    ),
    ("orlop-cri", &["orlop-model", "orlop-usecases"], &["orlop-sim"]),
    // From sys it takes the removal of trees that programs made as deep as they liked.
    ("orlop-docker", &["orlop-model", "orlop-usecases", "orlop-sys"], &["orlop-sim"]),
    (
        "orlopd",
        &[
            "orlop-sys",
            "orlop-model",
            "orlop-usecases",
            "orlop-store",
            "orlop-runtime-client",
            "orlop-images",
            "orlop-network",
            "orlop-cni-plugins",
            "orlop-cri",
            "orlop-docker",
            "orlop-metrics",
        ],
        &["orlop-contract", "orlop-testkit"],
    ),
    // It is handed what it shows, and knows none of the parts.
    ("orlop-metrics", &[], &[]),
    ("orlop-testkit", &["orlop-sys"], &[]),
    ("orlop-conformance", &["orlop-testkit"], &[]),
    ("xtask", &[], &[]),
];

/// Crates of others that may be reached only from the crates named, through any number of steps; tests are free.
const KEPT_OUT: &[(&str, &[&str])] = &[
    // Synchronous crates: what runs between clone and exec, or in a shim of one thread, has no executor.
    (
        "tokio",
        &[
            "orlop-usecases",
            "orlop-store",
            "orlop-sim",
            "orlop-contract",
            "orlop-runtime-client",
            "orlop-images",
            "orlop-network",
            "orlop-cri",
            "orlop-docker",
            "orlop-metrics",
            "orlopd",
            "orlop-testkit",
            "orlop-conformance",
        ],
    ),
    // What is pure, and what lives in a shim, counts nothing.
    ("prometheus", &["orlop-usecases", "orlop-images", "orlop-cri", "orlop-docker", "orlop-metrics", "orlopd"]),
    // One protocol, one facade: nothing below it knows gRPC.
    ("tonic", &["orlop-cri", "orlopd", "orlop-testkit", "orlop-conformance"]),
    ("prost", &["orlop-cri", "orlopd", "orlop-testkit", "orlop-conformance"]),
    // The client of the tests must never become the server's types: it speaks an older CRI.
    ("k8s-cri", &["orlop-testkit", "orlop-conformance"]),
    ("reqwest", &["orlop-images", "orlopd", "orlop-testkit", "orlop-conformance"]),
];

/// Crates of others that one of ours must not even name for itself.
const NOT_NAMED: &[(&str, &[&str])] = &[
    // A plan is run after clone, where nothing may be allocated or parsed.
    ("orlop-exec", &["serde", "serde_json", "tokio"]),
    // The pure core has no IO of its own to do.
    ("orlop-model", &["tokio", "prost", "tonic", "serde_json", "libc", "nix", "rustix", "tracing"]),
    ("orlop-usecases", &["prost", "tonic", "libc", "nix", "rustix"]),
];

/// Returns every breach of the law, in words.
pub fn broken(metadata: &Metadata) -> Vec<String> {
    let mut broken = undrawn_arrows(metadata);
    broken.extend(named_against_the_law(metadata));
    broken.extend(reached_against_the_law(metadata));
    broken
}

fn undrawn_arrows(metadata: &Metadata) -> Vec<String> {
    let members = metadata.workspace_packages();
    let ours: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    let mut broken = Vec::new();
    for package in &members {
        let Some((_, arrows, for_tests)) = ARROWS.iter().find(|(name, ..)| *name == package.name.as_str()) else {
            broken.push(format!("{} has no line in the dependency law", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str())) {
            let name = dependency.name.as_str();
            let test_only = dependency.kind == DependencyKind::Development;
            if !(arrows.contains(&name) || (test_only && for_tests.contains(&name))) {
                broken.push(format!("{} may not depend on {name}: no such arrow in the dependency law", package.name));
            }
        }
    }
    broken
}

fn named_against_the_law(metadata: &Metadata) -> Vec<String> {
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        let forbidden =
            NOT_NAMED.iter().find(|(name, _)| *name == package.name.as_str()).map_or(&[][..], |(_, list)| list);
        let named = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in named.filter(|dependency| forbidden.contains(&dependency.name.as_str())) {
            broken.push(format!("{} may not name {}", package.name, dependency.name));
        }
    }
    broken
}

fn reached_against_the_law(metadata: &Metadata) -> Vec<String> {
    let graph = linked_dependencies(metadata);
    let names: BTreeMap<&PackageId, &Package> =
        metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        let reached: BTreeSet<&str> =
            reachable(&graph, &package.id).iter().filter_map(|id| names.get(id)).map(|p| p.name.as_str()).collect();
        for (kept_out, allowed) in KEPT_OUT {
            if reached.contains(kept_out) && !allowed.contains(&package.name.as_str()) {
                broken.push(format!("{} may not reach {kept_out}", package.name));
            }
        }
    }
    broken
}

/// What ends up in the same program: normal dependencies, without build scripts and tests.
fn linked_dependencies(metadata: &Metadata) -> BTreeMap<&PackageId, Vec<&PackageId>> {
    let resolve = metadata.resolve.as_ref().expect("metadata was asked for with dependencies");
    let linked =
        |node: &'_ cargo_metadata::NodeDep| node.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
    resolve
        .nodes
        .iter()
        .map(|node| (&node.id, node.deps.iter().filter(|dep| linked(dep)).map(|dep| &dep.pkg).collect()))
        .collect()
}

fn reachable<'a>(graph: &BTreeMap<&'a PackageId, Vec<&'a PackageId>>, from: &'a PackageId) -> BTreeSet<&'a PackageId> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(id) = next.pop() {
        for dependency in graph.get(id).into_iter().flatten() {
            if seen.insert(*dependency) {
                next.push(dependency);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::metadata;

    #[test]
    fn workspace_keeps_the_dependency_law() {
        let broken = broken(&metadata());
        assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    }

    #[test]
    fn law_names_only_crates_that_exist() {
        let metadata = metadata();
        let ours: BTreeSet<String> = metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect();
        for (name, arrows, for_tests) in ARROWS {
            for name in std::iter::once(name).chain(*arrows).chain(*for_tests) {
                assert!(ours.contains(*name), "{name} is in the law, but not in the workspace");
            }
        }
    }

    #[test]
    fn law_finds_tokio_where_it_is() {
        // Without this, a mistake in walking the graph would let everything pass.
        let metadata = metadata();
        let graph = linked_dependencies(&metadata);
        let daemon =
            metadata.workspace_packages().into_iter().find(|p| p.name.as_str() == "orlopd").unwrap().id.clone();
        let reached = reachable(&graph, &daemon);
        let tokio = metadata.packages.iter().find(|p| p.name.as_str() == "tokio").unwrap();
        assert!(reached.contains(&tokio.id));
    }
}
