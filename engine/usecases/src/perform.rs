//! Performs one effect and says how it ended. Requests and recovery both come through here; each arm may run twice.

use crate::engine::Node;
use crate::moment;
use orlop_model::ContainerId;
use orlop_model::container_state::{ContainerEffect, ContainerEvent, ContainerState, Ended};
use orlop_model::effect::Effect;
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::image::ImageConfig;
use orlop_model::ports::{Launched, Start};
use orlop_model::record::{ContainerAsked, SandboxAsked};
use orlop_model::sandbox::NamespaceScope;
use orlop_model::sandbox_state::{Attachment, SandboxEffect, SandboxEvent};
use std::os::fd::OwnedFd;

/// Performs an effect on a sandbox; returns what happened, and the ends of containers that came to light.
pub(crate) async fn sandbox(
    node: &Node,
    asked: &SandboxAsked,
    effect: SandboxEffect,
) -> (SandboxEvent, Vec<(ContainerId, Ended)>) {
    let id = &asked.id;
    let ports = &node.ports;
    let mut ends = Vec::new();
    let work = async {
        match effect {
            SandboxEffect::RaiseShim => ports.runtime.raise(id, &asked.spec).await.map(|()| SandboxEvent::ShimRaised),
            SandboxEffect::Attach => attach(node, asked).await.map(SandboxEvent::Attached),
            SandboxEffect::DropShim => {
                ends = ports.runtime.drop_sandbox(id).await?;
                let unknown = ends.iter().filter(|(container, _)| node.registry.container(container).is_none());
                for (container, _) in unknown {
                    // Its record was damaged and set aside: nobody else lets go of how it ended.
                    ports.runtime.drop_task(id, container).await?;
                }
                Ok(SandboxEvent::ShimDropped)
            }
            SandboxEffect::Detach => ports.network.detach(id).await.map(|()| SandboxEvent::Detached),
            SandboxEffect::Forget => ports.records.forget_sandbox(id).await.map(|()| SandboxEvent::Forgotten),
            SandboxEffect::DropContainers => {
                Err(Failure::new(ErrorKind::Internal, "dropping containers is the driver's own effect"))
            }
        }
    };
    let done = moment::around(node, Effect::Sandbox(effect), work).await;
    let tried = match effect {
        SandboxEffect::RaiseShim => "start the sandbox's shim",
        SandboxEffect::Attach => "attach the sandbox's network",
        SandboxEffect::DropShim => "end the sandbox's processes",
        SandboxEffect::Detach => "detach the sandbox's network",
        SandboxEffect::DropContainers => "remove the sandbox's containers",
        SandboxEffect::Forget => "delete the sandbox's record",
    };
    // What came to light stays so, also when the rest failed.
    (done.unwrap_or_else(|failure| SandboxEvent::Failed(effect, failure.while_trying(tried))), ends)
}

async fn attach(node: &Node, asked: &SandboxAsked) -> Result<Vec<Attachment>> {
    match asked.spec.network {
        NamespaceScope::Host => Ok(Vec::new()),
        NamespaceScope::Sandbox => {
            let namespace = node.ports.runtime.network_namespace(&asked.id).await?;
            let attachments = node.ports.network.attach(&asked.id, &asked.spec, namespace).await?;
            if !asked.spec.networks.is_default() {
                node.ports.runtime.write_hosts(&asked.id, &asked.spec, &attachments).await?;
            }
            Ok(attachments)
        }
    }
}

/// Performs an effect on a container; `state` is the one that asked for it.
pub(crate) async fn container(
    node: &Node,
    sandbox: &SandboxAsked,
    asked: &ContainerAsked,
    state: &ContainerState,
    effect: ContainerEffect,
) -> ContainerEvent {
    let (pod, id) = (&sandbox.id, &asked.id);
    let ports = &node.ports;
    let work = async {
        match effect {
            ContainerEffect::PrepareRootfs => {
                ports.images.prepare(id, &asked.spec.image).await.map(|()| ContainerEvent::RootfsReady)
            }
            ContainerEffect::Check => check(node, sandbox, asked).await,
            ContainerEffect::Start => start(node, sandbox, asked).await,
            ContainerEffect::AskToEnd => {
                let signal = state.stop_signal().unwrap_or(SIGTERM);
                ports.runtime.signal(pod, id, signal).await.map(|()| ContainerEvent::Signalled)
            }
            ContainerEffect::Kill => ports.runtime.kill(pod, id).await.map(|()| ContainerEvent::Signalled),
            ContainerEffect::Freeze => ports.runtime.freeze(pod, id).await.map(|()| ContainerEvent::Frozen),
            ContainerEffect::Thaw => ports.runtime.thaw(pod, id).await.map(|()| ContainerEvent::Thawed),
            ContainerEffect::DropTask => ports.runtime.drop_task(pod, id).await.map(|()| ContainerEvent::TaskDropped),
            ContainerEffect::DropRootfs => ports.images.drop_rootfs(id).await.map(|()| ContainerEvent::RootfsDropped),
            ContainerEffect::Forget => ports.records.forget_container(id).await.map(|()| ContainerEvent::Forgotten),
        }
    };
    let done = moment::around(node, Effect::Container(effect), work).await;
    let tried = match effect {
        ContainerEffect::PrepareRootfs => "prepare the container's root file system",
        ContainerEffect::Check => "check the container",
        ContainerEffect::Start => "start the container",
        ContainerEffect::AskToEnd => "send the container its stop signal",
        ContainerEffect::Kill => "kill the container",
        ContainerEffect::Freeze => "freeze the container",
        ContainerEffect::Thaw => "thaw the container",
        ContainerEffect::DropTask => "end the container's processes",
        ContainerEffect::DropRootfs => "delete the container's root file system",
        ContainerEffect::Forget => "delete the container's record",
    };
    done.unwrap_or_else(|failure| ContainerEvent::Failed(effect, failure.while_trying(tried)))
}

/// Signal of an image and a container that name none.
const SIGTERM: u8 = 15;

async fn check(node: &Node, sandbox: &SandboxAsked, asked: &ContainerAsked) -> Result<ContainerEvent> {
    let image = node.ports.images.config_of(&asked.id).await?;
    let rootfs = node.ports.images.rootfs(&asked.id, sandbox.spec.user_namespace).await?;
    let start = start_of(sandbox, asked, &image, rootfs);
    node.ports.runtime.check(start).await.map(ContainerEvent::Checked)
}

async fn start(node: &Node, sandbox: &SandboxAsked, asked: &ContainerAsked) -> Result<ContainerEvent> {
    let image = node.ports.images.config_of(&asked.id).await?;
    let rootfs = node.ports.images.rootfs(&asked.id, sandbox.spec.user_namespace).await?;
    let start = start_of(sandbox, asked, &image, rootfs);
    Ok(match node.ports.runtime.start(start).await? {
        Launched::Running { pid, at } => ContainerEvent::Started { pid, at },
        Launched::Failed(ended) => ContainerEvent::Ended(ended),
    })
}

fn start_of<'a>(
    sandbox: &'a SandboxAsked,
    asked: &'a ContainerAsked,
    image: &'a ImageConfig,
    rootfs: OwnedFd,
) -> Start<'a> {
    Start {
        sandbox_id: &sandbox.id,
        sandbox: &sandbox.spec,
        id: &asked.id,
        container: &asked.spec,
        resources: &asked.resources,
        image,
        rootfs,
    }
}
