//! Images, root file systems and the files in them.

use super::{Answer, not_built};
use crate::container::{Mount, RootfsAccess};
use crate::error::Result;
use crate::files::{FileChange, FileStat, Packing, Unpack};
use crate::id::{ContainerId, ImageId, Namespace};
use crate::image::{Commit, FsUsage, Image, ImageConfig};
use crate::image_removal::{Removal, Removed};
use crate::pull::{PullProgress, PullRequest, Pulled};
use crate::sandbox::IdMapping;
use crate::usage::LayerUsage;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Images and root file systems.
pub trait Images: Send + Sync {
    /// Pulls an image; joins a pull of the same under way. The listener hears how far it is, joined or not. A pull whose
    /// callers have all dropped this future is given up, and leaves nothing behind.
    fn pull<'a>(&'a self, request: &'a PullRequest, listener: &'a dyn PullListener) -> Answer<'a, Result<Pulled>>;

    /// Gives an image, found as in [`Images::find`], one more name, which `owner` holds; takes that name from the image that
    /// has it. A name without a tag is that of the tag `latest`. `NotFound` when there is no such image.
    fn tag<'a>(&'a self, image: &'a str, name: &'a str, owner: &'a Namespace) -> Answer<'a, Result<ImageId>>;

    /// Makes an image of what a container's image has and what the container wrote. `NotFound` when either is gone.
    fn commit<'a>(&'a self, _commit: &'a Commit) -> Answer<'a, Result<ImageId>> {
        not_built("making an image of a container")
    }

    /// Finds an image by id, by unique part of an id, tag, digest or short name; `None` when it is not there.
    fn find<'a>(&'a self, reference: &'a str) -> Answer<'a, Result<Option<Image>>>;

    /// Lists every image, by id.
    fn list(&self) -> Answer<'_, Result<Vec<Image>>>;

    /// Takes names from an image, found as in [`Images::find`], and the image with them: see
    /// [`crate::image_removal::decide`]. Quiet when it is not there.
    fn remove<'a>(&'a self, removal: &'a Removal) -> Answer<'a, Result<Removed>>;

    /// Says what images use.
    fn usage(&self) -> Answer<'_, Result<FsUsage>>;

    /// Makes the writable layer of a container on an image. The image's layers stay until it is dropped.
    fn prepare<'a>(&'a self, container: &'a ContainerId, image: &'a ImageId) -> Answer<'a, Result<()>>;

    /// Assembles the root file system of a prepared container: a detached mount, at no path of the node. With `ids`, which
    /// must be the same each time, its files belong to users as that mapping shows them, and what is written to users of it.
    fn rootfs<'a>(&'a self, container: &'a ContainerId, ids: Option<IdMapping>) -> Answer<'a, Result<OwnedFd>>;

    /// Returns the settings of the image that a prepared container was made from, also when its names are gone.
    fn config_of<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<ImageConfig>>;

    /// Says what the writable layers of containers take, in this order; `None` where that is not known yet. Counting goes
    /// on beside it, so that a layer with millions of files holds up nobody: a figure may be some seconds old.
    fn layer_usage<'a>(&'a self, containers: &'a [ContainerId]) -> Answer<'a, Result<Vec<Option<LayerUsage>>>>;

    /// Lists what a container has changed of its image's files, in the order of paths.
    fn changes<'a>(&'a self, _container: &'a ContainerId) -> Answer<'a, Result<Vec<FileChange>>> {
        not_built("comparing a container's files with its image")
    }

    /// Deletes the writable layer of a container. Quiet when it is not there.
    fn drop_rootfs<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<()>>;

    /// Lists every container that has a writable layer, for recovery.
    fn leftovers(&self) -> Answer<'_, Result<Vec<ContainerId>>>;

    /// Assembles what the processes of a prepared container that does not run would see, as far as it holds files: its root
    /// with the folders and files of the node that are mounted in it, read-only where they would be. At no path of the node.
    fn root_with_mounts<'a>(
        &'a self,
        _container: &'a ContainerId,
        _mounts: &'a [Mount],
        _access: RootfsAccess,
    ) -> Answer<'a, Result<OwnedFd>> {
        not_built("assembling a root with its mounts")
    }

    /// Looks at a path below a root. `NotFound` when there is nothing.
    fn stat_file<'a>(&'a self, _root: OwnedFd, _path: &'a Path) -> Answer<'a, Result<FileStat>> {
        not_built("looking at a container's files")
    }

    /// Packs what a path below a root names into a tar archive: a folder with all below it, file systems of the kernel left
    /// out. The names in it begin with [`FileStat::name`].
    fn pack_files<'a>(&'a self, _root: OwnedFd, _path: &'a Path) -> Answer<'a, Result<Packing>> {
        not_built("packing a container's files")
    }

    /// Unpacks an archive into a folder below a root. Nothing ever leaves the root, whoever changes it meanwhile.
    /// `Denied` where it is read-only, `InvalidArgument` for an archive or a place that can't be right.
    fn unpack_files<'a>(&'a self, _root: OwnedFd, _unpack: Unpack) -> Answer<'a, Result<()>> {
        not_built("unpacking files into a container")
    }
}

/// Who hears how far a pull is. Called from the task that waits for it, each time with the whole, no more often than
/// [`crate::pull::TELL_PAUSE`] and once more before its end; must not block.
pub trait PullListener: Send + Sync {
    /// Says how far the pull is.
    fn hear(&self, progress: &PullProgress);
}

/// The listener of those who only want the image.
#[derive(Clone, Copy, Debug)]
pub struct Unheard;

impl PullListener for Unheard {
    fn hear(&self, _progress: &PullProgress) {}
}
