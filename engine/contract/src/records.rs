//! Contracts of [`Records`].

use crate::objects::{container_asked, container_id, sandbox_asked, sandbox_id};
use orlop_model::container_state::{ContainerState, Preparing, Task};
use orlop_model::ports::Records;
use orlop_model::record::{ContainerAsked, Durability, Loaded, SandboxAsked};
use orlop_model::sandbox_state::{Attachment, SandboxState};
use orlop_model::{ErrorKind, Failure, Timestamp};
use std::net::Ipv6Addr;

/// What the contracts stand on: a store that outlives its daemon.
pub trait RecordsGround {
    /// The records, as the daemon of the moment has them.
    fn records(&self) -> &dyn Records;
    /// Lets the daemon die and another one take its place, in the same boot.
    fn restart(&mut self);
}

/// Writes one test for each contract. `ground!(name)` makes an empty [`records::RecordsGround`](crate::records::RecordsGround).
#[macro_export]
macro_rules! records {
    ($test:tt, $ground:ident) => {
        $crate::suite! { records, $test, $ground,
            what_was_written_comes_back_whole_after_a_restart
            what_has_no_state_yet_is_loaded_without_one
            the_last_write_counts_and_what_is_outlives_what_is_asked_anew
            forgetting_takes_both_records_and_no_others
            forgetting_again_or_what_never_was_is_quiet
            what_was_forgotten_can_be_written_anew_and_has_no_state
            a_state_of_what_was_never_asked_for_is_not_loaded
            a_record_that_comes_to_outlast_a_boot_is_there_once
        }
    };
}

/// One object of each kind and durability, its state too.
struct Written {
    sandboxes: Vec<SandboxAsked>,
    containers: Vec<ContainerAsked>,
}

fn ready() -> SandboxState {
    let attachment = Attachment {
        network: "net".to_owned(),
        interface: "eth0".to_owned(),
        addresses: vec![[10, 0, 0, 2].into(), Ipv6Addr::LOCALHOST.into()],
        ..Attachment::default()
    };
    SandboxState::Ready { since: Timestamp(9), attachments: vec![attachment] }
}

fn running() -> ContainerState {
    ContainerState::Running(Task { pid: u32::MAX, started: Timestamp(1), checked: Default::default() })
}

async fn write(records: &dyn Records) -> Written {
    let written = Written {
        sandboxes: vec![sandbox_asked("a", Durability::Boot), sandbox_asked("b", Durability::Node)],
        containers: vec![
            container_asked(&sandbox_id("a"), "c", Durability::Boot),
            container_asked(&sandbox_id("b"), "d", Durability::Node),
        ],
    };
    // Twice: every effect may come twice.
    for _ in 0..2 {
        for asked in &written.sandboxes {
            records.put_sandbox(asked).await.unwrap();
            records.put_sandbox_state(&asked.id, &ready()).await.unwrap();
        }
        for asked in &written.containers {
            records.put_container(asked).await.unwrap();
            records.put_container_state(&asked.id, &running()).await.unwrap();
        }
    }
    written
}

/// Loads as the next daemon would; nothing is set aside, and the order is that of ids.
async fn load(ground: &mut impl RecordsGround) -> Loaded {
    ground.restart();
    let mut loaded = ground.records().load().await.unwrap();
    assert_eq!(loaded.set_aside, []);
    loaded.sandboxes.sort_by(|one, two| one.0.id.cmp(&two.0.id));
    loaded.containers.sort_by(|one, two| one.0.id.cmp(&two.0.id));
    loaded
}

/// An object that is loaded has what was asked and what is, byte for byte.
pub async fn what_was_written_comes_back_whole_after_a_restart(mut ground: impl RecordsGround) {
    assert_eq!(load(&mut ground).await, Loaded::default());
    let written = write(ground.records()).await;
    let loaded = load(&mut ground).await;
    let sandboxes: Vec<_> = written.sandboxes.into_iter().map(|asked| (asked, Some(ready()))).collect();
    let containers: Vec<_> = written.containers.into_iter().map(|asked| (asked, Some(running()))).collect();
    assert_eq!((loaded.sandboxes, loaded.containers), (sandboxes, containers));
}

/// A crash may fall between the two records.
pub async fn what_has_no_state_yet_is_loaded_without_one(mut ground: impl RecordsGround) {
    let sandbox = sandbox_asked("a", Durability::Boot);
    let container = container_asked(&sandbox.id, "c", Durability::Node);
    ground.records().put_sandbox(&sandbox).await.unwrap();
    ground.records().put_container(&container).await.unwrap();
    let loaded = load(&mut ground).await;
    assert_eq!((loaded.sandboxes, loaded.containers), (vec![(sandbox, None)], vec![(container, None)]));
}

/// A record is replaced as a whole, and neither of the two touches the other.
pub async fn the_last_write_counts_and_what_is_outlives_what_is_asked_anew(mut ground: impl RecordsGround) {
    let written = write(ground.records()).await;
    let why = Some(Failure::new(ErrorKind::Internal, "shorter"));
    let state = SandboxState::NotReady { since: Timestamp(2), why };
    let anew = SandboxAsked { annex: b"short".to_vec(), ..written.sandboxes[0].clone() };
    ground.records().put_sandbox_state(&anew.id, &state).await.unwrap();
    ground.records().put_sandbox(&anew).await.unwrap();
    let container_anew = ContainerAsked { annex: Vec::new(), ..written.containers[1].clone() };
    let container_state = ContainerState::Creating { since: Timestamp(0), stage: Preparing::Check };
    ground.records().put_container(&container_anew).await.unwrap();
    ground.records().put_container_state(&container_anew.id, &container_state).await.unwrap();
    let loaded = load(&mut ground).await;
    assert_eq!(loaded.sandboxes[0], (anew, Some(state)));
    assert_eq!(loaded.sandboxes[1], (written.sandboxes[1].clone(), Some(ready())));
    assert_eq!(loaded.containers[0], (written.containers[0].clone(), Some(running())));
    assert_eq!(loaded.containers[1], (container_anew, Some(container_state)));
}

/// Whatever its durability.
pub async fn forgetting_takes_both_records_and_no_others(mut ground: impl RecordsGround) {
    let written = write(ground.records()).await;
    ground.records().forget_sandbox(&written.sandboxes[0].id).await.unwrap();
    ground.records().forget_container(&written.containers[1].id).await.unwrap();
    let loaded = load(&mut ground).await;
    assert_eq!(loaded.sandboxes, vec![(written.sandboxes[1].clone(), Some(ready()))]);
    assert_eq!(loaded.containers, vec![(written.containers[0].clone(), Some(running()))]);
    ground.records().forget_sandbox(&written.sandboxes[1].id).await.unwrap();
    ground.records().forget_container(&written.containers[0].id).await.unwrap();
    assert_eq!(load(&mut ground).await, Loaded::default());
}

/// A crash may fall between the deletion and whatever comes of it.
pub async fn forgetting_again_or_what_never_was_is_quiet(mut ground: impl RecordsGround) {
    let written = write(ground.records()).await;
    for _ in 0..2 {
        ground.records().forget_sandbox(&written.sandboxes[0].id).await.unwrap();
        ground.records().forget_container(&written.containers[0].id).await.unwrap();
        ground.records().forget_sandbox(&sandbox_id("never")).await.unwrap();
        ground.records().forget_container(&container_id("never")).await.unwrap();
        ground.restart();
    }
    let loaded = load(&mut ground).await;
    assert_eq!((loaded.sandboxes.len(), loaded.containers.len()), (1, 1));
}

/// Nothing of what was forgotten shows through.
pub async fn what_was_forgotten_can_be_written_anew_and_has_no_state(mut ground: impl RecordsGround) {
    let written = write(ground.records()).await;
    for (sandbox, container) in written.sandboxes.iter().zip(&written.containers) {
        ground.records().forget_sandbox(&sandbox.id).await.unwrap();
        ground.records().forget_container(&container.id).await.unwrap();
        ground.records().put_sandbox(sandbox).await.unwrap();
        ground.records().put_container(container).await.unwrap();
    }
    let loaded = load(&mut ground).await;
    let sandboxes: Vec<_> = written.sandboxes.into_iter().map(|asked| (asked, None)).collect();
    let containers: Vec<_> = written.containers.into_iter().map(|asked| (asked, None)).collect();
    assert_eq!((loaded.sandboxes, loaded.containers), (sandboxes, containers));
}

/// It is what a removal left that was cut off.
pub async fn a_state_of_what_was_never_asked_for_is_not_loaded(mut ground: impl RecordsGround) {
    ground.records().put_sandbox_state(&sandbox_id("a"), &ready()).await.unwrap();
    ground.records().put_container_state(&container_id("c"), &running()).await.unwrap();
    assert_eq!(load(&mut ground).await, Loaded::default());
}

/// What is created is asked for until the next boot at first, and for good when it is done.
pub async fn a_record_that_comes_to_outlast_a_boot_is_there_once(mut ground: impl RecordsGround) {
    let sandbox = sandbox_asked("a", Durability::Boot);
    let container = container_asked(&sandbox.id, "c", Durability::Boot);
    ground.records().put_sandbox(&sandbox).await.unwrap();
    ground.records().put_sandbox_state(&sandbox.id, &ready()).await.unwrap();
    ground.records().put_container(&container).await.unwrap();
    ground.records().put_container_state(&container.id, &running()).await.unwrap();
    let sandbox = SandboxAsked { durability: Durability::Node, ..sandbox };
    let container = ContainerAsked { durability: Durability::Node, annex: b"new".to_vec(), ..container };
    ground.records().put_sandbox(&sandbox).await.unwrap();
    ground.records().put_container(&container).await.unwrap();
    let loaded = load(&mut ground).await;
    assert_eq!(loaded.sandboxes, vec![(sandbox.clone(), Some(ready()))]);
    assert_eq!(loaded.containers, vec![(container.clone(), Some(running()))]);
    ground.records().forget_sandbox(&sandbox.id).await.unwrap();
    ground.records().forget_container(&container.id).await.unwrap();
    assert_eq!(load(&mut ground).await, Loaded::default());
}
