//! Stacks layers into one root file system: an overlay that is mounted nowhere, held by its descriptor.
//!
//! Kernel, filesystems/overlayfs.rst. fsconfig(2) takes strings of at most 255 bytes, so layers are never named by path:
//! by descriptor since Linux 6.13, by `/proc/self/fd/<n>` one at a time since 6.7. Before, mount(2) must do it, which takes a
//! page of text and a place: a namespace of a thread's own, of which the overlay is then taken out.

use crate::apply::is_opaque;
use crate::error::Error;
use crate::mapped;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_string, fsmount, fsopen, mount, move_mount, open_tree,
};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest text of options that mount(2) takes: a page, without its end.
const OPTIONS_BYTES_MAX: usize = 4095;

/// Longest message of the kernel that is passed on.
const SAID_BYTES_MAX: usize = 1024;

/// Fixed settings. `index` would refuse an upper folder whose last mount is just going away; links between layers
/// (`redirect_dir`, `metacopy`) are written by nobody here, so following one could only serve a hostile image.
const SETTINGS: [(&str, &str); 3] = [("index", "off"), ("redirect_dir", "nofollow"), ("metacopy", "off")];

/// Whether this kernel is known to take neither way of naming layers: asked again, it would complain in its log each time.
static ONLY_LISTS: AtomicBool = AtomicBool::new(false);

/// How layers are named to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// Linux 6.13.
    Descriptors,
    /// Linux 6.7.
    Paths,
}

/// The folders of one root file system.
pub(crate) struct Stack {
    /// Top first; never empty. Opened one at a time, since the kernel keeps hold of what it was told: an image with 500
    /// layers must not use up the daemon's descriptors.
    lowers: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
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
        Ok(Self { lowers, upper: upper.to_owned(), work: work.to_owned() })
    }

    /// Makes the mount.
    pub(crate) fn mount(&self) -> Result<OwnedFd, Error> {
        self.mount_over(&Lowers::AsStored)
    }

    /// Makes the mount with the owners of its layers mapped by a user namespace.
    pub(crate) fn mount_mapped(&self, users: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
        let mapped = |path: &PathBuf| {
            let doing = "show a layer with its owners mapped, which the file system of";
            mapped::open(path, users).map_err(Error::errno(format!("{doing} {path:?} may be unable to")))
        };
        let mounts = self.lowers.iter().map(mapped).collect::<Result<Vec<_>, _>>()?;
        self.mount_over(&Lowers::Mapped(mounts))
    }

    fn mount_over(&self, lowers: &Lowers) -> Result<OwnedFd, Error> {
        if ONLY_LISTS.load(Ordering::Relaxed) {
            return self.mount_listing(lowers);
        }
        for naming in [Naming::Descriptors, Naming::Paths] {
            match self.mount_naming(naming, lowers) {
                Ok(mount) => return Ok(mount),
                Err(refused) if refused.may_know_another_way() => {}
                Err(Refused { doing, error, said }) => return Err(Error::errno(format!("{doing}{said}"))(error)),
            }
        }
        let mount = self.mount_listing(lowers)?;
        ONLY_LISTS.store(true, Ordering::Relaxed);
        Ok(mount)
    }

    fn mount_naming(&self, naming: Naming, lowers: &Lowers) -> Result<OwnedFd, Refused> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(refused("open overlayfs", None))?;
        let context = context.as_fd();
        self.configure(context, naming, lowers).map_err(refused(CONFIGURE, Some(context)))?;
        fsconfig_create(context).map_err(refused("create an overlay", Some(context)))?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .map_err(refused("mount an overlay", Some(context)))
    }

    fn configure(&self, context: BorrowedFd<'_>, naming: Naming, lowers: &Lowers) -> Result<(), Errno> {
        let keys = std::iter::repeat_n("lowerdir+", self.lowers.len()).chain(["upperdir", "workdir"]);
        for (at, (key, path)) in keys.zip(self.lowers.iter().chain([&self.upper, &self.work])).enumerate() {
            let folder = match lowers.get(at) {
                None => open_folder(path)?,
                Some(mount) => open_folder_at(mount, Path::new("."))?,
            };
            match naming {
                Naming::Descriptors => fsconfig_set_fd(context, key, folder.as_fd())?,
                Naming::Paths => fsconfig_set_string(context, key, format!("/proc/self/fd/{}", folder.as_raw_fd()))?,
            }
        }
        SETTINGS.iter().try_for_each(|(key, value)| fsconfig_set_string(context, *key, *value))
    }

    /// Makes the mount by mount(2), for kernels that can't be told layer by layer.
    fn mount_listing(&self, lowers: &Lowers) -> Result<OwnedFd, Error> {
        let doing = format!("mount an overlay of {} layers; the kernel's log may say why not", self.lowers.len());
        let mounted = orlop_sys::mountns::apart(|| {
            // Over the layers themselves: nobody else is in this namespace.
            for (at, path) in self.lowers.iter().enumerate() {
                if let Some(mount) = lowers.get(at) {
                    move_mount(mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
                }
            }
            // Opened in here: the mount of a folder must be one of this namespace.
            let folders = self.lowers.iter().chain([&self.upper, &self.work]).map(|path| open_folder(path));
            let folders = folders.collect::<Result<Vec<_>, _>>()?;
            // From there a folder's name is its descriptor's number, so that 500 of them fit the page that the kernel takes.
            rustix::process::chdir("/proc/self/fd")?;
            mount("overlay", &self.upper, "overlay", MountFlags::empty(), listing(&folders)?.as_c_str())?;
            open_tree(CWD, &self.upper, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        });
        mounted.map_err(Error::io(doing.clone()))?.map_err(Error::errno(doing))
    }
}

/// How the lower layers are seen.
enum Lowers {
    /// As their folders are.
    AsStored,
    /// Through these mounts, one for each.
    Mapped(Vec<OwnedFd>),
}

impl Lowers {
    fn get(&self, at: usize) -> Option<&OwnedFd> {
        match self {
            Self::AsStored => None,
            Self::Mapped(mounts) => mounts.get(at),
        }
    }
}

/// Returns all options in one text; the folders are lowers, upper, work.
fn listing(folders: &[OwnedFd]) -> Result<CString, Errno> {
    let numbers: Vec<_> = folders.iter().map(|folder| folder.as_raw_fd().to_string()).collect();
    let [lowers @ .., upper, work] = numbers.as_slice() else { return Err(Errno::INVAL) };
    let settings: String = SETTINGS.iter().map(|(key, value)| format!(",{key}={value}")).collect();
    let options = format!("lowerdir={},upperdir={upper},workdir={work}{settings}", lowers.join(":"));
    if options.len() > OPTIONS_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    CString::new(options).map_err(|_| Errno::INVAL)
}

/// What the kernel did not do.
struct Refused {
    doing: &'static str,
    error: Errno,
    /// What it has to say about it.
    said: String,
}

/// The step at which a kernel of 6.5 or later refuses a key it does not know.
const CONFIGURE: &str = "configure an overlay";

impl Refused {
    /// Says whether the kernel may only not know this way of naming layers. Before 6.5 it takes any key, and fails later
    /// and without a word.
    fn may_know_another_way(&self) -> bool {
        let invalid = matches!(self.error, Errno::INVAL | Errno::NOTSUP | Errno::BADF);
        invalid && (self.doing == CONFIGURE || self.said.is_empty())
    }
}

fn refused(doing: &'static str, context: Option<BorrowedFd<'_>>) -> impl FnOnce(Errno) -> Refused {
    move |error| Refused { doing, error, said: context.map(said).unwrap_or_default() }
}

/// Returns the words that the kernel left in a context.
fn said(context: BorrowedFd<'_>) -> String {
    let mut said = String::new();
    let mut buffer = [0; SAID_BYTES_MAX];
    while let Ok(count @ 1..) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..count]);
        said.push_str(&format!(" ({})", line.trim()));
        if said.len() > SAID_BYTES_MAX {
            break;
        }
    }
    said
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    open_folder(path).map_err(Error::errno(format!("open {path:?}")))
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    open_folder_at(CWD, path)
}

fn open_folder_at(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
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
        for way in [Some(Naming::Descriptors), Some(Naming::Paths), None] {
            let (upper, work) = (path(&format!("upper-{way:?}")), path(&format!("work-{way:?}")));
            let top_first = layers.iter().rev().cloned().collect();
            let stack = Stack::open(top_first, &path("empty"), &upper, &work).unwrap();
            let mount = match way {
                Some(naming) => match stack.mount_naming(naming, &Lowers::AsStored) {
                    Ok(mount) => mount,
                    // Not before Linux 6.7.
                    Err(refused) => {
                        assert!(refused.may_know_another_way(), "{naming:?}: {}{}", refused.doing, refused.said);
                        continue;
                    }
                },
                None => stack.mount_listing(&Lowers::AsStored).unwrap(),
            };
            let who = rustix::fs::openat(&mount, "who", OFlags::RDONLY, Mode::empty()).unwrap();
            let mut buffer = [0; 8];
            let count = rustix::io::read(&who, &mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"11", "{way:?}");
            fs::write(format!("/proc/self/fd/{}/new", mount.as_raw_fd()), "").unwrap();
            assert!(upper.join("new").exists(), "{way:?}");
        }
        assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(temp.path().to_str().unwrap()));
    }

    #[test]
    fn every_way_of_naming_layers_maps_their_owners() {
        use std::os::unix::fs::{MetadataExt, lchown};
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let path = temp.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let layers = [path("lower"), path("top")];
        fs::write(layers[0].join("root"), "").unwrap();
        fs::write(layers[1].join("user"), "").unwrap();
        lchown(layers[1].join("user"), Some(33), Some(34)).unwrap();
        let ids = orlop_model::sandbox::IdMapping { inside: 0, node: 200_000, count: 1000 };
        let users = mapped::users(ids).unwrap();
        for way in [Some(Naming::Descriptors), Some(Naming::Paths), None] {
            let (upper, work) = (path(&format!("upper-{way:?}")), path(&format!("work-{way:?}")));
            for _ in 0..2 {
                mapped::give(&upper, ids).unwrap();
            }
            let stack = Stack::open(layers.iter().rev().cloned().collect(), &path("empty"), &upper, &work).unwrap();
            let mounts = match stack.lowers.iter().map(|path| mapped::open(path, users.as_fd())).collect() {
                Ok(mounts) => Lowers::Mapped(mounts),
                Err(errno) => {
                    eprintln!("skipped: this file system can't map owners: {errno}");
                    return;
                }
            };
            let mount = match way {
                Some(naming) => match stack.mount_naming(naming, &mounts) {
                    Ok(mount) => mount,
                    // Not before Linux 6.15.
                    Err(refused) => {
                        assert!(refused.may_know_another_way(), "{naming:?}: {}{}", refused.doing, refused.said);
                        continue;
                    }
                },
                None => stack.mount_listing(&mounts).unwrap(),
            };
            let root = format!("/proc/self/fd/{}", mount.as_raw_fd());
            let owner = |name: &str| {
                let found = fs::metadata(Path::new(&root).join(name)).unwrap();
                (found.uid(), found.gid())
            };
            assert_eq!(owner(""), (200_000, 200_000), "{way:?}");
            assert_eq!((owner("root"), owner("user")), ((200_000, 200_000), (200_033, 200_034)), "{way:?}");
        }
        let found = fs::metadata(layers[1].join("user")).unwrap();
        assert_eq!((found.uid(), found.gid()), (33, 34), "the layer itself stays as it is");
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
        let count = |mount: OwnedFd| fs::read_dir(format!("/proc/self/fd/{}", mount.as_raw_fd())).unwrap().count();
        assert_eq!(count(stack.mount().unwrap()), crate::manifest::LAYERS_MAX);
        assert_eq!(count(stack.mount_listing(&Lowers::AsStored).unwrap()), crate::manifest::LAYERS_MAX);
    }
}
