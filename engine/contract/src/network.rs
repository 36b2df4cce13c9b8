//! Contracts of [`Network`].

use crate::objects::{sandbox, sandbox_id};
use orlop_model::SandboxId;
use orlop_model::ports::{Network, NetworkNamespace};
use orlop_model::sandbox::{NamespaceScope, Networks, SandboxSpec};
use orlop_model::sandbox_state::Attachment;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What the contracts stand on: a node without pods, whose network has [`PLACES`] addresses for them.
pub trait NetworkGround {
    /// The network, as the daemon of the moment has it.
    fn network(&self) -> &dyn Network;
    /// Returns the network namespace of a sandbox, made when it is first asked for.
    fn namespace(&mut self, id: &SandboxId) -> NetworkNamespace;
    /// Lets the network namespace of a sandbox go.
    fn drop_namespace(&mut self, id: &SandboxId);
    /// Lets the daemon die and another one take its place.
    fn restart(&mut self);
}

/// Addresses that a ground has for pods. One that has more must give the one that was given back first.
pub const PLACES: usize = 5;

/// Writes one test for each contract. `ground!(name)` makes an empty [`network::NetworkGround`](crate::network::NetworkGround).
#[macro_export]
macro_rules! network {
    ($test:tt, $ground:ident) => {
        $crate::suite! { network, $test, $ground,
            attaching_twice_gives_the_same_attachment
            every_sandbox_has_an_address_of_its_own
            leftovers_are_exactly_what_holds_an_address
            detaching_again_or_what_never_was_is_quiet
            an_address_that_was_given_back_can_be_used_again
            attachments_outlive_the_daemon
            detaching_works_when_the_namespace_is_gone
            the_nodes_network_is_attached_to_nothing
            a_sandbox_that_wants_no_network_holds_nothing
        }
    };
}

async fn attach(ground: &mut impl NetworkGround, id: &SandboxId) -> Vec<Attachment> {
    let namespace = ground.namespace(id);
    ground.network().attach(id, &sandbox("pod"), namespace).await.unwrap()
}

/// Attaches and returns the primary address.
async fn address(ground: &mut impl NetworkGround, id: &SandboxId) -> IpAddr {
    let attachments = attach(ground, id).await;
    let [Attachment { interface, addresses, .. }] = attachments.as_slice() else { panic!("{attachments:?}") };
    assert_eq!(interface, "eth0");
    addresses[0]
}

async fn leftovers(ground: &impl NetworkGround) -> BTreeSet<SandboxId> {
    let found = ground.network().leftovers().await.unwrap();
    let set: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(set.len(), found.len(), "one is listed twice: {found:?}");
    set
}

fn ids<const N: usize>() -> [SandboxId; N] {
    std::array::from_fn(|n| sandbox_id(&format!("pod{n}")))
}

/// A crash may fall between the attach and its record.
pub async fn attaching_twice_gives_the_same_attachment(mut ground: impl NetworkGround) {
    ground.network().ready().await.unwrap();
    let [pod] = ids();
    let first = attach(&mut ground, &pod).await;
    assert_eq!(attach(&mut ground, &pod).await, first);
    assert_eq!(leftovers(&ground).await, BTreeSet::from([pod.clone()]));
    ground.network().detach(&pod).await.unwrap();
}

/// As many as there are.
pub async fn every_sandbox_has_an_address_of_its_own(mut ground: impl NetworkGround) {
    let pods = ids::<PLACES>();
    let mut addresses = BTreeSet::new();
    for pod in &pods {
        addresses.insert(address(&mut ground, pod).await);
    }
    assert_eq!(addresses.len(), PLACES, "{addresses:?}");
    for pod in &pods {
        ground.network().detach(pod).await.unwrap();
    }
}

/// Recovery sweeps by this list.
pub async fn leftovers_are_exactly_what_holds_an_address(mut ground: impl NetworkGround) {
    assert_eq!(leftovers(&ground).await, BTreeSet::new());
    let [one, two] = ids();
    address(&mut ground, &one).await;
    address(&mut ground, &two).await;
    assert_eq!(leftovers(&ground).await, BTreeSet::from([one.clone(), two.clone()]));
    ground.network().detach(&one).await.unwrap();
    assert_eq!(leftovers(&ground).await, BTreeSet::from([two.clone()]));
    ground.network().detach(&two).await.unwrap();
    assert_eq!(leftovers(&ground).await, BTreeSet::new());
}

/// A crash may fall between the detach and its record.
pub async fn detaching_again_or_what_never_was_is_quiet(mut ground: impl NetworkGround) {
    let [pod, never] = ids();
    address(&mut ground, &pod).await;
    for _ in 0..2 {
        ground.network().detach(&pod).await.unwrap();
        ground.network().detach(&never).await.unwrap();
        ground.restart();
    }
    assert_eq!(leftovers(&ground).await, BTreeSet::new());
}

/// Otherwise a node runs out of them.
pub async fn an_address_that_was_given_back_can_be_used_again(mut ground: impl NetworkGround) {
    let pods = ids::<PLACES>();
    let mut addresses = Vec::new();
    for pod in &pods {
        addresses.push(address(&mut ground, pod).await);
    }
    ground.network().detach(&pods[1]).await.unwrap();
    let late = sandbox_id("late");
    assert_eq!(address(&mut ground, &late).await, addresses[1]);
    for pod in pods.iter().chain([&late]) {
        ground.network().detach(pod).await.unwrap();
    }
}

/// A daemon that comes back finds what the last one attached, and gives nothing of it to another.
pub async fn attachments_outlive_the_daemon(mut ground: impl NetworkGround) {
    let [one, two] = ids();
    let first = attach(&mut ground, &one).await;
    ground.restart();
    assert_eq!(leftovers(&ground).await, BTreeSet::from([one.clone()]));
    let second = address(&mut ground, &two).await;
    assert_ne!(first[0].addresses[0], second);
    assert_eq!(attach(&mut ground, &one).await, first);
    for pod in [&one, &two] {
        ground.network().detach(pod).await.unwrap();
    }
}

/// A shim takes it along when it dies.
pub async fn detaching_works_when_the_namespace_is_gone(mut ground: impl NetworkGround) {
    let [pod] = ids();
    address(&mut ground, &pod).await;
    ground.drop_namespace(&pod);
    ground.network().detach(&pod).await.unwrap();
    assert_eq!(leftovers(&ground).await, BTreeSet::new());
}

/// Such a sandbox has no namespace of its own.
pub async fn the_nodes_network_is_attached_to_nothing(mut ground: impl NetworkGround) {
    let [pod] = ids();
    let namespace = ground.namespace(&pod);
    let spec = SandboxSpec { network: NamespaceScope::Host, ..sandbox("pod") };
    assert_eq!(ground.network().attach(&pod, &spec, namespace).await.unwrap(), []);
    assert_eq!(leftovers(&ground).await, BTreeSet::new());
    ground.network().detach(&pod).await.unwrap();
}

/// It has a namespace of its own, with its loopback.
pub async fn a_sandbox_that_wants_no_network_holds_nothing(mut ground: impl NetworkGround) {
    let [pod] = ids();
    for _ in 0..2 {
        let namespace = ground.namespace(&pod);
        let spec = SandboxSpec { networks: Networks::Named(Vec::new()), ..sandbox("pod") };
        assert_eq!(ground.network().attach(&pod, &spec, namespace).await.unwrap(), []);
        assert_eq!(leftovers(&ground).await, BTreeSet::new());
    }
    ground.network().detach(&pod).await.unwrap();
}
