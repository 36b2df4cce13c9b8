//! What a spec is made from.

use crate::user::ResolvedUser;
use orlop_model::container::{ContainerSpec, Resources};
use orlop_model::image::ImageConfig;
use orlop_model::sandbox::SandboxSpec;
use orlop_model::{ContainerId, SandboxId};
use std::path::PathBuf;

/// All that a container's spec depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The sandbox.
    pub sandbox_id: &'a SandboxId,
    /// What was asked for.
    pub sandbox: &'a SandboxSpec,
    /// The container.
    pub container_id: &'a ContainerId,
    /// What was asked for.
    pub container: &'a ContainerSpec,
    /// What it may use.
    pub resources: &'a Resources,
    /// What its image says. Untrusted.
    pub image: &'a ImageConfig,
    /// Who it runs as, from [`crate::user::resolve`].
    pub user: &'a ResolvedUser,
    /// What the node has.
    pub host: &'a HostFacts,
    /// Cgroup of the sandbox, below the root of every hierarchy; the container gets `<this>/<container id>`.
    pub sandbox_cgroup: &'a str,
    /// Files of the sandbox that its containers see in `/etc`.
    pub files: &'a SandboxFiles,
}

/// What the node has.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Capabilities that the shim holds, one bit each; `ALL` means these.
    pub capabilities: u64,
    /// `oom_score_adj` of the shim: without CAP_SYS_RESOURCE nothing it starts can have a lower one.
    pub oom_score_adj: i16,
    /// Whether mount_setattr(2) can set attributes recursively: Linux 5.12.
    pub recursive_readonly: bool,
    /// Devices of the node's `/dev`, for privileged containers; and those that containers ask for by path.
    pub devices: Vec<NodeDevice>,
}

/// A device node of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDevice {
    /// Where it is.
    pub path: PathBuf,
    /// Character or block.
    pub kind: NodeDeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A kind of device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeDeviceKind {
    /// Character.
    Char,
    /// Block.
    Block,
}

/// Files of the node that containers of a sandbox see in `/etc`, where they mount nothing of their own. `None` leaves the
/// image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxFiles {
    /// `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
    /// `/etc/hostname`.
    pub hostname: Option<PathBuf>,
    /// `/etc/hosts`.
    pub hosts: Option<PathBuf>,
}
