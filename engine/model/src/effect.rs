//! Every effect there is, by name, and which effects each operation consists of: what a crash may fall between.
//!
//! Pure. Who performs an effect tells [`crate::ports::Failpoints`] before and after it, so that tests can let the daemon die,
//! wait or fail there. The daemon exports [`Operation::ALL`] (`orlopd --effects`), and a test kills it at every one.

use crate::container_state::ContainerEffect;
use crate::sandbox_state::SandboxEffect;
use std::fmt;

/// One thing done to the world that can be done, or not done yet, when the daemon dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// A record is written.
    Record(RecordEffect),
    /// What a sandbox's state asked for.
    Sandbox(SandboxEffect),
    /// What a container's state asked for.
    Container(ContainerEffect),
    /// What a running container may use is written to its cgroup.
    Update,
    /// A part of attaching or detaching.
    Network(NetworkEffect),
    /// A part of pulling or removing an image.
    Image(ImageEffect),
}

/// A record that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordEffect {
    /// What was asked for, of a sandbox.
    Sandbox,
    /// What a sandbox is.
    SandboxState,
    /// What was asked for, of a container.
    Container,
    /// What a container is.
    ContainerState,
}

/// A part of [`SandboxEffect::Attach`] or [`SandboxEffect::Detach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkEffect {
    /// Write down that the sandbox has an address: from here on a crash is undone by detaching it.
    ReserveAddress,
    /// Write down that the sandbox has host ports, and keep others from taking them.
    ReservePorts,
    /// Make the link, with its addresses and routes.
    Plug,
    /// Lead the host ports into the pod.
    OpenPorts,
    /// Lead the host ports nowhere.
    ClosePorts,
    /// Take the link down.
    Unplug,
    /// Give the host ports back.
    ReleasePorts,
    /// Give the address back.
    ReleaseAddress,
}

/// A part of pulling or removing an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageEffect {
    /// Store manifests and config; nothing names them yet.
    KeepContent,
    /// Fetch, check and unpack the layers; nothing names them yet.
    KeepLayers,
    /// Make the layer of merged folders.
    Stack,
    /// Flush everything that the record will name.
    Flush,
    /// Write the record that makes it an image.
    Commit,
    /// Delete that record.
    Unrecord,
    /// Move what no image needs any more to the trash.
    Discard,
}

/// When, around an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// It is owed and recorded, and nothing of it is done.
    Before,
    /// It is done, and nobody knows yet.
    After,
}

/// Something a facade asks the node to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Run a sandbox.
    RunSandbox,
    /// Create a container.
    CreateContainer,
    /// Start a container.
    StartContainer,
    /// Change what a container may use.
    UpdateContainer,
    /// Stop a container: asked to end, or killed.
    StopContainer,
    /// Stop a sandbox with its containers.
    StopSandbox,
    /// Remove a container.
    RemoveContainer,
    /// Remove a sandbox with its containers.
    RemoveSandbox,
    /// Freeze a container.
    FreezeContainer,
    /// Thaw a container.
    ThawContainer,
    /// Replace the annex of a container.
    UpdateAnnex,
    /// Create a container alone, with a sandbox that stays a record.
    CreateAlone,
    /// Start a container alone, and its sandbox first.
    StartAlone,
    /// Let the sandbox of a container alone end when that has ended: asked by nobody.
    EndAlone,
    /// Remove a container alone with its sandbox.
    RemoveAlone,
    /// Pull an image.
    PullImage,
    /// Remove an image.
    RemoveImage,
}

use {ContainerEffect as C, Effect as E, ImageEffect as I, NetworkEffect as N, RecordEffect as R, SandboxEffect as S};

const RUN_SANDBOX: &[Effect] = &[
    E::Record(R::Sandbox),
    E::Record(R::SandboxState),
    E::Sandbox(S::RaiseShim),
    E::Sandbox(S::Attach),
    E::Network(N::ReserveAddress),
    E::Network(N::ReservePorts),
    E::Network(N::Plug),
    E::Network(N::OpenPorts),
];
const CREATE_CONTAINER: &[Effect] =
    &[E::Record(R::Container), E::Record(R::ContainerState), E::Container(C::PrepareRootfs), E::Container(C::Check)];
const START_CONTAINER: &[Effect] = &[E::Record(R::ContainerState), E::Container(C::Start)];
const UPDATE_CONTAINER: &[Effect] = &[E::Record(R::Container), E::Update];
const STOP_CONTAINER: &[Effect] =
    &[E::Record(R::ContainerState), E::Container(C::AskToEnd), E::Container(C::Kill), E::Container(C::DropTask)];
const STOP_SANDBOX: &[Effect] = &[
    E::Record(R::SandboxState),
    E::Record(R::ContainerState),
    E::Sandbox(S::DropShim),
    E::Container(C::DropTask),
    E::Sandbox(S::Detach),
    E::Network(N::ClosePorts),
    E::Network(N::Unplug),
    E::Network(N::ReleasePorts),
    E::Network(N::ReleaseAddress),
];
const REMOVE_CONTAINER: &[Effect] =
    &[E::Record(R::ContainerState), E::Container(C::DropTask), E::Container(C::DropRootfs), E::Container(C::Forget)];
const REMOVE_SANDBOX: &[Effect] = &[
    E::Record(R::SandboxState),
    E::Record(R::ContainerState),
    E::Sandbox(S::DropShim),
    E::Sandbox(S::Detach),
    E::Network(N::ClosePorts),
    E::Network(N::Unplug),
    E::Network(N::ReleasePorts),
    E::Network(N::ReleaseAddress),
    E::Sandbox(S::DropContainers),
    E::Container(C::DropTask),
    E::Container(C::DropRootfs),
    E::Container(C::Forget),
    E::Sandbox(S::Forget),
];
const FREEZE_CONTAINER: &[Effect] = &[E::Container(C::Freeze), E::Record(R::ContainerState)];
const THAW_CONTAINER: &[Effect] = &[E::Container(C::Thaw), E::Record(R::ContainerState)];
const UPDATE_ANNEX: &[Effect] = &[E::Record(R::Container)];
const CREATE_ALONE: &[Effect] = &[
    E::Record(R::Sandbox),
    E::Record(R::SandboxState),
    E::Record(R::Container),
    E::Record(R::ContainerState),
    E::Container(C::PrepareRootfs),
    E::Container(C::Check),
];
const START_ALONE: &[Effect] = &[
    E::Record(R::SandboxState),
    E::Sandbox(S::RaiseShim),
    E::Sandbox(S::Attach),
    E::Network(N::ReserveAddress),
    E::Network(N::ReservePorts),
    E::Network(N::Plug),
    E::Network(N::OpenPorts),
    E::Record(R::ContainerState),
    E::Container(C::Start),
];
const END_ALONE: &[Effect] = &[
    E::Record(R::ContainerState),
    E::Container(C::DropTask),
    E::Record(R::SandboxState),
    E::Sandbox(S::DropShim),
    E::Sandbox(S::Detach),
    E::Network(N::ClosePorts),
    E::Network(N::Unplug),
    E::Network(N::ReleasePorts),
    E::Network(N::ReleaseAddress),
];
const PULL_IMAGE: &[Effect] =
    &[E::Image(I::KeepContent), E::Image(I::KeepLayers), E::Image(I::Stack), E::Image(I::Flush), E::Image(I::Commit)];
const REMOVE_IMAGE: &[Effect] = &[E::Image(I::Unrecord), E::Image(I::Discard)];

// === impl Operation ===

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 17] = [
        Self::RunSandbox,
        Self::CreateContainer,
        Self::StartContainer,
        Self::UpdateContainer,
        Self::StopContainer,
        Self::StopSandbox,
        Self::RemoveContainer,
        Self::RemoveSandbox,
        Self::FreezeContainer,
        Self::ThawContainer,
        Self::UpdateAnnex,
        Self::CreateAlone,
        Self::StartAlone,
        Self::EndAlone,
        Self::RemoveAlone,
        Self::PullImage,
        Self::RemoveImage,
    ];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RunSandbox => "run-sandbox",
            Self::CreateContainer => "create-container",
            Self::StartContainer => "start-container",
            Self::UpdateContainer => "update-container",
            Self::StopContainer => "stop-container",
            Self::StopSandbox => "stop-sandbox",
            Self::RemoveContainer => "remove-container",
            Self::RemoveSandbox => "remove-sandbox",
            Self::FreezeContainer => "freeze-container",
            Self::ThawContainer => "thaw-container",
            Self::UpdateAnnex => "update-annex",
            Self::CreateAlone => "create-alone",
            Self::StartAlone => "start-alone",
            Self::EndAlone => "end-alone",
            Self::RemoveAlone => "remove-alone",
            Self::PullImage => "pull-image",
            Self::RemoveImage => "remove-image",
        }
    }

    /// Returns its effects, each once, in the order of their first time.
    #[must_use]
    pub fn effects(self) -> &'static [Effect] {
        match self {
            Self::RunSandbox => RUN_SANDBOX,
            Self::CreateContainer => CREATE_CONTAINER,
            Self::StartContainer => START_CONTAINER,
            Self::UpdateContainer => UPDATE_CONTAINER,
            Self::StopContainer => STOP_CONTAINER,
            Self::StopSandbox => STOP_SANDBOX,
            Self::RemoveContainer => REMOVE_CONTAINER,
            // That of a container alone is removed through its sandbox.
            Self::RemoveSandbox | Self::RemoveAlone => REMOVE_SANDBOX,
            Self::FreezeContainer => FREEZE_CONTAINER,
            Self::ThawContainer => THAW_CONTAINER,
            Self::UpdateAnnex => UPDATE_ANNEX,
            Self::CreateAlone => CREATE_ALONE,
            Self::StartAlone => START_ALONE,
            Self::EndAlone => END_ALONE,
            Self::PullImage => PULL_IMAGE,
            Self::RemoveImage => REMOVE_IMAGE,
        }
    }
}

// === impl Effect ===

impl Effect {
    /// Finds the effect of a name, among those of the operations.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Operation::ALL.into_iter().flat_map(Operation::effects).copied().find(|effect| effect.name() == name)
    }

    /// Returns its name: whose it is, and what.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Record(R::Sandbox) => "record.sandbox",
            Self::Record(R::SandboxState) => "record.sandbox-state",
            Self::Record(R::Container) => "record.container",
            Self::Record(R::ContainerState) => "record.container-state",
            Self::Sandbox(S::RaiseShim) => "sandbox.raise-shim",
            Self::Sandbox(S::Attach) => "sandbox.attach",
            Self::Sandbox(S::DropShim) => "sandbox.drop-shim",
            Self::Sandbox(S::Detach) => "sandbox.detach",
            Self::Sandbox(S::DropContainers) => "sandbox.drop-containers",
            Self::Sandbox(S::Forget) => "sandbox.forget",
            Self::Container(C::PrepareRootfs) => "container.prepare-rootfs",
            Self::Container(C::Check) => "container.check",
            Self::Container(C::Start) => "container.start",
            Self::Container(C::AskToEnd) => "container.ask-to-end",
            Self::Container(C::Kill) => "container.kill",
            Self::Container(C::Freeze) => "container.freeze",
            Self::Container(C::Thaw) => "container.thaw",
            Self::Container(C::DropTask) => "container.drop-task",
            Self::Container(C::DropRootfs) => "container.drop-rootfs",
            Self::Container(C::Forget) => "container.forget",
            Self::Update => "container.update",
            Self::Network(N::ReserveAddress) => "network.reserve-address",
            Self::Network(N::ReservePorts) => "network.reserve-ports",
            Self::Network(N::Plug) => "network.plug",
            Self::Network(N::OpenPorts) => "network.open-ports",
            Self::Network(N::ClosePorts) => "network.close-ports",
            Self::Network(N::Unplug) => "network.unplug",
            Self::Network(N::ReleasePorts) => "network.release-ports",
            Self::Network(N::ReleaseAddress) => "network.release-address",
            Self::Image(I::KeepContent) => "image.keep-content",
            Self::Image(I::KeepLayers) => "image.keep-layers",
            Self::Image(I::Stack) => "image.stack",
            Self::Image(I::Flush) => "image.flush",
            Self::Image(I::Commit) => "image.commit",
            Self::Image(I::Unrecord) => "image.unrecord",
            Self::Image(I::Discard) => "image.discard",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_tell_effects_apart_and_lead_back_to_them() {
        for operation in Operation::ALL {
            let effects: BTreeSet<_> = operation.effects().iter().collect();
            assert_eq!(effects.len(), operation.effects().len(), "{}", operation.name());
            for effect in operation.effects() {
                assert_eq!(Effect::named(effect.name()), Some(*effect));
            }
        }
        assert_eq!(Effect::named("sandbox.fly"), None);
    }
}
