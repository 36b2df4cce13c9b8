//! Sandboxes and containers as contracts need them: usual ones, told apart by a name or a number.

use orlop_model::container::{ContainerSpec, Process, Resources};
use orlop_model::record::{ContainerAsked, Durability, SandboxAsked};
use orlop_model::sandbox::SandboxSpec;
use orlop_model::{ContainerId, Digest, ImageId, Namespace, NaturalKey, SandboxId, Timestamp};
use std::collections::BTreeMap;

/// Returns an id as long as real ones.
#[must_use]
pub fn sandbox_id(name: &str) -> SandboxId {
    SandboxId::parse(&format!("{name:0<64}")).unwrap()
}

/// Returns an id as long as real ones.
#[must_use]
pub fn container_id(name: &str) -> ContainerId {
    ContainerId::parse(&format!("{name:0<64}")).unwrap()
}

/// Returns the id of an image that nobody has.
#[must_use]
pub fn no_image() -> ImageId {
    ImageId(Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap())
}

/// Returns a sandbox with namespaces of its own.
#[must_use]
pub fn sandbox(name: &str) -> SandboxSpec {
    let spec = SandboxSpec::new(Namespace("contract".to_owned()), NaturalKey(name.to_owned()));
    SandboxSpec { hostname: name.to_owned(), ..spec }
}

/// Returns a container of a sandbox that runs a command.
#[must_use]
pub fn container(sandbox: &SandboxId, name: &str, command: &[&str]) -> ContainerSpec {
    let (namespace, key) = (Namespace("contract".to_owned()), NaturalKey(name.to_owned()));
    let process = Process { command: command.iter().map(ToString::to_string).collect(), ..Process::default() };
    ContainerSpec { process, ..ContainerSpec::new(namespace, key, sandbox.clone(), no_image()) }
}

/// Returns the record of a sandbox; every byte there is is in its annex.
pub(crate) fn sandbox_asked(name: &str, durability: Durability) -> SandboxAsked {
    let spec = SandboxSpec {
        sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_owned(), "1".to_owned())]),
        network_args: vec![("K8S_POD_NAME".to_owned(), "ü \"quoted\"\n".to_owned())],
        ..sandbox(name)
    };
    let annex = (0..=u8::MAX).collect();
    SandboxAsked { id: sandbox_id(name), created_at: Timestamp(i64::MAX), spec, annex, durability }
}

/// Returns the record of a container; every byte there is is in its annex and in its environment.
pub(crate) fn container_asked(sandbox: &SandboxId, name: &str, durability: Durability) -> ContainerAsked {
    let mut spec = container(sandbox, name, &["/bin/sh", "-c", "echo \"ü\"\n"]);
    spec.process.env = vec![("BYTES".to_owned(), (1..=u8::MAX).collect())];
    ContainerAsked {
        id: container_id(name),
        created_at: Timestamp(-1),
        spec,
        resources: Resources::default(),
        update: None,
        checked: None,
        annex_generation: 0,
        annex: (0..=u8::MAX).rev().collect(),
        durability,
    }
}
