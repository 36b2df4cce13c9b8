//! Files of containers, running or not: looked at, packed, unpacked.

use crate::facade::Facade;
use crate::registry::ContainerView;
use orlop_model::ContainerId;
use orlop_model::container_state::ContainerState;
use orlop_model::error::Result;
use orlop_model::files::{FileStat, Packing, Unpack};
use std::os::fd::OwnedFd;
use std::path::Path;

impl Facade {
    /// Looks at a path inside a container. `NotFound` when there is nothing.
    ///
    /// # Errors
    /// As of the ports.
    pub async fn stat_file(&self, id: &ContainerId, path: &Path) -> Result<FileStat> {
        let root = self.root(id).await?;
        self.images().stat_file(root, path).await
    }

    /// Begins to pack what a path inside a container names.
    ///
    /// # Errors
    /// As of the ports.
    pub async fn pack_files(&self, id: &ContainerId, path: &Path) -> Result<Packing> {
        let root = self.root(id).await?;
        self.images().pack_files(root, path).await
    }

    /// Unpacks an archive into a folder inside a container.
    ///
    /// # Errors
    /// As of the ports.
    pub async fn unpack_files(&self, id: &ContainerId, unpack: Unpack) -> Result<()> {
        let root = self.root(id).await?;
        self.images().unpack_files(root, unpack).await
    }

    /// Opens the root of a container: what its processes see, or would see but for the kernel's own file systems and tmpfs.
    async fn root(&self, id: &ContainerId) -> Result<OwnedFd> {
        let view = self.own_container(id)?;
        let spec = &view.asked.spec;
        if has_process(&view) {
            return self.node().ports.runtime.root_of(&spec.sandbox, id).await;
        }
        self.images().root_with_mounts(id, &spec.mounts, spec.rootfs).await
    }
}

/// Says whether there is a process whose view of the files counts.
fn has_process(view: &ContainerView) -> bool {
    match &view.state {
        ContainerState::Running(_) | ContainerState::Frozen(_) => true,
        ContainerState::Stopping { .. } | ContainerState::Lost(_) => true,
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => false,
        ContainerState::Exited { .. } | ContainerState::Removing(_) | ContainerState::Gone { .. } => false,
    }
}
