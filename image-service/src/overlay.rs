//! Stacks layers into one root file system: an overlay that is mounted nowhere, held by its descriptor.
//!
//! Kernel, filesystems/overlayfs.rst. fsconfig(2) takes strings of at most 255 bytes, so layers are never named by path:
//! by descriptor since Linux 6.13, by `/proc/self/fd/<n>` one at a time since 6.5, and all in one short string before.

use crate::apply::is_opaque;
use crate::error::Error;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_string, fsmount, fsopen,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Longest string that fsconfig(2) takes, without its end.
const STRING_BYTES_MAX: usize = 255;

/// Longest message of the kernel that is passed on.
const SAID_BYTES_MAX: usize = 1024;

/// Fixed settings. `index` would refuse an upper folder whose last mount is just going away; links between layers
/// (`redirect_dir`, `metacopy`) are written by nobody here, so following one could only serve a hostile image.
const SETTINGS: [(&str, &str); 3] = [("index", "off"), ("redirect_dir", "nofollow"), ("metacopy", "off")];

/// How layers are named to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// Linux 6.13.
    Descriptors,
    /// Linux 6.5.
    Paths,
    /// Before; only some twenty layers fit.
    List,
}

/// The folders of one root file system.
pub(crate) struct Stack {
    /// Top first; never empty. Opened one at a time, since the kernel keeps hold of what it was told: an image with 500
    /// layers must not use up the daemon's descriptors.
    lowers: Vec<PathBuf>,
    upper: OwnedFd,
    work: OwnedFd,
}

// === impl Stack ===

impl Stack {
    /// Opens the folders. `lowers` are layers, top first; `empty` stands in when there is none.
    pub(crate) fn open(mut lowers: Vec<PathBuf>, empty: &Path, upper: &Path, work: &Path) -> Result<Self, Error> {
        // Overlayfs merges the roots whatever they say, so a root that hides those below ends the stack.
        let mut last = lowers.len();
        for (at, path) in lowers.iter().enumerate() {
            let lower = open(path)?;
            if is_opaque(lower.as_fd()).map_err(Error::errno(format!("read the attributes of {path:?}")))? {
                last = at + 1;
                break;
            }
        }
        lowers.truncate(last);
        if lowers.is_empty() {
            lowers.push(empty.to_owned());
        }
        Ok(Self { lowers, upper: open(upper)?, work: open(work)? })
    }

    /// Makes the mount.
    pub(crate) fn mount(&self) -> Result<OwnedFd, Error> {
        let mut last = Errno::INVAL;
        for naming in [Naming::Descriptors, Naming::Paths, Naming::List] {
            let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(Error::errno("open overlayfs"))?;
            match self.name_lowers(context.as_fd(), naming)? {
                Ok(_held) => return self.finish(context.as_fd(), naming),
                // The kernel does not know this way of naming them.
                Err(error @ (Errno::INVAL | Errno::NOTSUP | Errno::BADF | Errno::NAMETOOLONG)) => last = error,
                Err(error) => return Err(failed(context.as_fd(), "add layers to overlay", error)),
            }
        }
        let doing = format!("add {} layers to overlay; more than about 20 need Linux 6.5", self.lowers.len());
        Err(Error::errno(doing)(last))
    }

    /// The inner result is what the kernel says, or the descriptors that must stay open until the overlay is created: a
    /// kernel that takes a list only looks at it then.
    fn name_lowers(&self, context: BorrowedFd<'_>, naming: Naming) -> Result<Result<Vec<OwnedFd>, Errno>, Error> {
        if naming == Naming::List {
            let lowers = self.lowers.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
            // /dev/fd is /proc/self/fd in fewer letters.
            let paths: Vec<_> = lowers.iter().map(|lower| format!("/dev/fd/{}", lower.as_raw_fd())).collect();
            let list = paths.join(":");
            let fits = list.len() <= STRING_BYTES_MAX;
            let named = if fits { fsconfig_set_string(context, "lowerdir", list) } else { Err(Errno::NAMETOOLONG) };
            return Ok(named.map(|()| lowers));
        }
        for path in &self.lowers {
            let lower = open(path)?;
            let named = match naming {
                Naming::Descriptors => fsconfig_set_fd(context, "lowerdir+", lower.as_fd()),
                Naming::Paths | Naming::List => fsconfig_set_string(context, "lowerdir+", path_of(&lower)),
            };
            if let Err(error) = named {
                return Ok(Err(error));
            }
        }
        Ok(Ok(Vec::new()))
    }

    fn finish(&self, context: BorrowedFd<'_>, naming: Naming) -> Result<OwnedFd, Error> {
        let said = |doing: &'static str| move |error| failed(context, doing, error);
        for (key, folder) in [("upperdir", &self.upper), ("workdir", &self.work)] {
            let set = match naming {
                Naming::Descriptors => fsconfig_set_fd(context, key, folder.as_fd()),
                Naming::Paths | Naming::List => fsconfig_set_string(context, key, path_of(folder)),
            };
            set.map_err(said("name the writable folder of an overlay"))?;
        }
        for (key, value) in SETTINGS {
            fsconfig_set_string(context, key, value).map_err(said("configure an overlay"))?;
        }
        fsconfig_create(context).map_err(said("create an overlay"))?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(said("mount an overlay"))
    }
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(Error::errno(format!("open {path:?}")))
}

fn path_of(folder: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", folder.as_raw_fd())
}

/// Adds what the kernel has to say about a failure; it leaves its words in the context.
fn failed(context: BorrowedFd<'_>, doing: &str, error: Errno) -> Error {
    let mut said = String::new();
    let mut buffer = [0; SAID_BYTES_MAX];
    while let Ok(count @ 1..) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..count]);
        said.push_str(&format!(" ({})", line.trim()));
        if said.len() > SAID_BYTES_MAX {
            break;
        }
    }
    Error::errno(format!("{doing}{said}"))(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_way_of_naming_layers_gives_the_same_overlay() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let path = temp.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let layers: Vec<_> = (0..12).map(|at| path(&at.to_string())).collect();
        for (at, layer) in layers.iter().enumerate() {
            fs::write(layer.join("who"), at.to_string()).unwrap();
        }
        for naming in [Naming::Descriptors, Naming::Paths, Naming::List] {
            let (upper, work) = (path(&format!("upper-{naming:?}")), path(&format!("work-{naming:?}")));
            let top_first = layers.iter().rev().cloned().collect();
            let stack = Stack::open(top_first, &path("empty"), &upper, &work).unwrap();
            let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
            let _held = stack.name_lowers(context.as_fd(), naming).unwrap().unwrap();
            let mount = stack.finish(context.as_fd(), naming).unwrap();
            let who = rustix::fs::openat(&mount, "who", OFlags::RDONLY, Mode::empty()).unwrap();
            let mut buffer = [0; 8];
            let count = rustix::io::read(&who, &mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"11", "{naming:?}");
        }
        assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(temp.path().to_str().unwrap()));
    }

    #[test]
    fn as_many_layers_as_overlayfs_takes_can_be_stacked() {
        let temp = tempfile::tempdir().unwrap();
        for folder in ["upper", "work"] {
            fs::create_dir(temp.path().join(folder)).unwrap();
        }
        let layers: Vec<_> = (0..crate::manifest::LAYERS_MAX).map(|at| temp.path().join(at.to_string())).collect();
        for layer in &layers {
            fs::create_dir(layer).unwrap();
            fs::write(layer.join(layer.file_name().unwrap()), "").unwrap();
        }
        let path = |name: &str| temp.path().join(name);
        let stack = Stack::open(layers, &path("empty"), &path("upper"), &path("work")).unwrap();
        let mount = stack.mount().unwrap();
        let found = fs::read_dir(format!("/proc/self/fd/{}", mount.as_raw_fd())).unwrap().count();
        assert_eq!(found, crate::manifest::LAYERS_MAX);
    }
}
