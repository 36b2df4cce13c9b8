//! The records port on a real disk: what comes back after a restart, after a boot, and after damage.
#![allow(clippy::unwrap_used, reason = "tests")]

use orlop_model::ports::Records;
use orlop_model::record::{Durability, SandboxAsked};
use orlop_model::sandbox::{NamespaceScope, SandboxSpec};
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{Namespace, NaturalKey, SandboxId, Timestamp};
use orlop_store::{Config, Store};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn open(dir: &Path, boot_id: &str) -> Store {
    let config = Config { boot_dir: dir.join("boot"), node_dir: dir.join("node"), boot_id: boot_id.to_owned() };
    Store::open(&config).unwrap()
}

fn asked(n: u8, durability: Durability) -> SandboxAsked {
    SandboxAsked {
        id: SandboxId::from_random([n; 32]),
        created_at: Timestamp(i64::from(n)),
        spec: SandboxSpec {
            hostname: "host".to_owned(),
            ipc: NamespaceScope::Host,
            sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_owned(), "1".to_owned())]),
            cgroup_parent: Some("/kubepods/x".to_owned()),
            network_args: vec![("K8S_POD_NAME".to_owned(), "p".to_owned())],
            ..SandboxSpec::new(Namespace("test".to_owned()), NaturalKey(format!("key {n}")))
        },
        annex: vec![0, 159, 146, 150],
        durability,
    }
}

fn ready() -> SandboxState {
    SandboxState::Ready { since: Timestamp(9), attachments: Vec::new() }
}

async fn fill(store: &Store, n: u8, durability: Durability) -> SandboxAsked {
    let asked = asked(n, durability);
    // Twice: every effect may run twice.
    for _ in 0..2 {
        store.put_sandbox(&asked).await.unwrap();
        store.put_sandbox_state(&asked.id, &ready()).await.unwrap();
    }
    asked
}

#[tokio::test]
async fn what_was_written_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "one");
    let boot = fill(&store, 1, Durability::Boot).await;
    let node = fill(&store, 2, Durability::Node).await;
    let loaded = open(dir.path(), "one").load().await.unwrap();
    assert_eq!(loaded.sandboxes, vec![(boot.clone(), Some(ready())), (node, Some(ready()))]);
    for _ in 0..2 {
        store.forget_sandbox(&boot.id).await.unwrap();
    }
    assert_eq!(open(dir.path(), "one").load().await.unwrap().sandboxes.len(), 1);
}

#[tokio::test]
async fn a_boot_voids_what_is_and_keeps_what_was_asked_for_by_the_node_class() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "one");
    fill(&store, 1, Durability::Boot).await;
    let node = fill(&store, 2, Durability::Node).await;
    let loaded = open(dir.path(), "two").load().await.unwrap();
    assert_eq!(loaded.sandboxes, vec![(node, None)]);
    assert!(loaded.set_aside.is_empty());
}

#[tokio::test]
async fn damage_is_set_aside_and_named_and_the_rest_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "one");
    let whole = fill(&store, 1, Durability::Boot).await;
    let hurt = fill(&store, 2, Durability::Boot).await;
    let path = dir.path().join("boot/sandbox-asked").join(hurt.id.as_str());
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let loaded = open(dir.path(), "one").load().await.unwrap();
    assert_eq!(loaded.sandboxes, vec![(whole, Some(ready()))]);
    let [(kept, wrong)] = loaded.set_aside.as_slice() else { panic!("{:?}", loaded.set_aside) };
    assert!(kept.exists() && wrong.contains("checksum"), "{kept:?}: {wrong}");
    // The next start finds nothing wrong any more.
    assert!(open(dir.path(), "one").load().await.unwrap().set_aside.is_empty());
}

#[tokio::test]
async fn a_torn_write_leaves_the_record_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "one");
    let first = fill(&store, 2, Durability::Node).await;
    let second = SandboxAsked { annex: b"newer".to_vec(), ..first.clone() };
    store.put_sandbox(&second).await.unwrap();
    let slots = [".0", ".1"].map(|slot| dir.path().join(format!("node/sandbox-asked/{}{slot}", first.id)));
    for slot in &slots {
        let whole = fs::read(slot).unwrap();
        fs::write(slot, &whole[..whole.len() / 2]).unwrap();
        let loaded = open(dir.path(), "one").load().await.unwrap();
        assert_eq!(loaded.sandboxes.len(), 1, "{loaded:?}");
        assert!(loaded.set_aside.is_empty());
        fs::write(slot, whole).unwrap();
    }
    let loaded = open(dir.path(), "one").load().await.unwrap();
    assert_eq!(loaded.sandboxes[0].0.annex, b"newer");
}

#[tokio::test]
async fn drafts_and_orphans_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "one");
    let gone = fill(&store, 1, Durability::Boot).await;
    fs::remove_file(dir.path().join("boot/sandbox-asked").join(gone.id.as_str())).unwrap();
    fs::write(dir.path().join("boot/sandbox-state/x.7.draft"), b"half").unwrap();
    assert!(open(dir.path(), "one").load().await.unwrap().sandboxes.is_empty());
    assert_eq!(fs::read_dir(dir.path().join("boot/sandbox-state")).unwrap().count(), 0);
}
