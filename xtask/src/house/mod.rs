//! The laws of the house, checked over what cargo says of the workspace.

pub mod law;
pub mod licenses;

use cargo_metadata::{Metadata, MetadataCommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs every check and prints what breaks the law.
pub fn run() -> ExitCode {
    let metadata = metadata();
    let deny = std::fs::read_to_string(workspace().join("deny.toml")).unwrap_or_default();
    let mut broken = law::broken(&metadata);
    match licenses::Policy::parse(&deny) {
        Ok(policy) => broken.extend(policy.broken(&metadata)),
        Err(why) => broken.push(why),
    }
    for line in &broken {
        println!("{line}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The workspace's folder: the one above this crate's.
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

/// What cargo knows of the workspace, for the one target that is built.
pub fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .other_options(["--offline", "--filter-platform", "x86_64-unknown-linux-gnu"].map(String::from))
        .exec()
        .expect("cargo reads its own workspace")
}
