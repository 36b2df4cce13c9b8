//! One cgroup, in every hierarchy at once.

use crate::{CgroupPath, Error, Hierarchies, Hierarchy, kill, tree};
use orlop_sys::bpf::{self, Instruction};
use orlop_wire::plan::{CgroupPlan, CgroupWrite, DeviceAccess, Missing};
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Longest value accepted for one file; cpuset lists are the longest we write. The kernel takes a page.
const VALUE_BYTES_MAX: usize = 4096;

/// Mode of the folders we make; the kernel's own for cgroups.
const FOLDER_MODE: u32 = 0o755;

/// A cgroup: its folder in each hierarchy, held open.
#[derive(Debug)]
pub struct Leaf {
    path: CgroupPath,
    v1: Vec<Folder>,
    unified: Option<Folder>,
}

/// The folder of a cgroup in one hierarchy.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) controllers: Vec<String>,
    pub(crate) fd: OwnedFd,
    /// For messages, and to remove it by name from its parent.
    pub(crate) at: PathBuf,
}

/// Which folders a walk may make.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Make,
    Find,
}

// === impl Leaf ===

impl Leaf {
    /// Makes a cgroup with its missing parents in every hierarchy, so that a process can enter it: on v1 an empty cpuset
    /// takes its parent's, on v2 the parents hand their controllers down as far as the kernel lets them.
    pub fn create(hierarchies: &Hierarchies, path: &CgroupPath) -> Result<Self, Error> {
        let mut leaf = Self { path: path.clone(), v1: Vec::new(), unified: None };
        for hierarchy in &hierarchies.v1 {
            leaf.v1.extend(descend(hierarchy, path, Walk::Make, prepare_v1)?);
        }
        if let Some(unified) = &hierarchies.unified {
            // In hybrid mode nothing is handed down: v1 carries the limits, and a v2 tree without controllers in its
            // subtree_control lets processes and children live in one cgroup.
            let prepare = if hierarchies.v1.is_empty() { hand_down } else { leave_alone };
            leaf.unified = descend(unified, path, Walk::Make, prepare)?;
        }
        Ok(leaf)
    }

    /// Opens a cgroup; `None` when it is in no hierarchy.
    pub fn open(hierarchies: &Hierarchies, path: &CgroupPath) -> Result<Option<Self>, Error> {
        let mut leaf = Self { path: path.clone(), v1: Vec::new(), unified: None };
        for hierarchy in &hierarchies.v1 {
            leaf.v1.extend(descend(hierarchy, path, Walk::Find, leave_alone)?);
        }
        if let Some(unified) = &hierarchies.unified {
            leaf.unified = descend(unified, path, Walk::Find, leave_alone)?;
        }
        Ok((!leaf.v1.is_empty() || leaf.unified.is_some()).then_some(leaf))
    }

    /// Returns its path below the root of every hierarchy.
    #[must_use]
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Limits it as planned, before a process enters.
    pub fn apply(&self, plan: &CgroupPlan) -> Result<(), Error> {
        plan.writes.iter().try_for_each(|write| self.write(write))?;
        match &plan.devices {
            DeviceAccess::AsWritten | DeviceAccess::Unenforced => Ok(()),
            DeviceAccess::Program(bytes) => {
                let program: Vec<_> = bytes.as_chunks().0.iter().copied().map(Instruction::from_bytes).collect();
                self.set_device_program(&program)
            }
        }
    }

    /// Writes one file, in one write(2).
    pub fn write(&self, write: &CgroupWrite) -> Result<(), Error> {
        let CgroupWrite { controller, file, value, missing } = write;
        if file.is_empty() || file.contains(['/', '\0']) || file.starts_with('.') {
            return Err(Error::BadFile(file.chars().take(200).collect()));
        }
        let Some(folder) = self.folder(controller) else {
            return match missing {
                Missing::Ignore => Ok(()),
                Missing::Fail => Err(no_controller(write)),
            };
        };
        match (folder.write(file, value), missing) {
            (Err(Error::Io { source, .. }), Missing::Ignore) if source.raw_os_error() == Some(ENOENT) => Ok(()),
            (Err(Error::Io { source, .. }), Missing::Fail) if source.raw_os_error() == Some(ENOENT) => {
                Err(no_controller(write))
            }
            (other, Missing::Ignore | Missing::Fail) => other,
        }
    }

    /// Decides by a program which devices its processes may use, instead of what decided before; at once, but where others
    /// attached programs of their own: then both count for a moment. See [`crate::devices::program`].
    pub fn set_device_program(&self, program: &[Instruction]) -> Result<(), Error> {
        let Some(unified) = &self.unified else { return Err(Error::NoUnified(self.path.clone())) };
        let failed = |verb| move |error: std::io::Error| Error::Io { verb, path: unified.at.clone(), source: error };
        let new = bpf::load_device_program(program).map_err(failed("load device rules for"))?;
        let old = bpf::attached_device_programs(unified.fd.as_fd()).map_err(failed("list device rules of"))?;
        let (replaced, others) = old.split_first().map_or((None, &[][..]), |(first, others)| (Some(first), others));
        bpf::attach_device_program(unified.fd.as_fd(), new.as_fd(), replaced.map(AsFd::as_fd))
            .map_err(failed("attach device rules to"))?;
        for other in others {
            bpf::detach_device_program(unified.fd.as_fd(), other.as_fd()).map_err(failed("detach device rules of"))?;
        }
        Ok(())
    }

    /// Opens the files to which a process of one thread writes `0`, or its id, to enter: one for each hierarchy.
    ///
    /// On v1 that is `tasks`: a write to `cgroup.procs` stops every fork of the node first, which after 30 ms of quiet takes
    /// the kernel 10 to 20 ms; moving a single thread does not need it.
    pub fn entry_fds(&self) -> Result<Vec<OwnedFd>, Error> {
        let v1 = self.v1.iter().map(|folder| folder.open_file("tasks", OFlags::WRONLY));
        let unified = self.unified.iter().map(|folder| folder.open_file("cgroup.procs", OFlags::WRONLY));
        v1.chain(unified).collect()
    }

    /// Returns its folder in the unified hierarchy, for `CLONE_INTO_CGROUP`.
    #[must_use]
    pub fn unified_dir_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|folder| folder.fd.as_fd())
    }

    /// Lists its processes and those of the cgroups below it, by the node's process ids, sorted. A process of another pid
    /// namespace than ours, which reads as 0, is left out.
    pub fn procs(&self) -> Result<Vec<u32>, Error> {
        tree::procs(self.folders())
    }

    /// Returns how many of its processes the kernel killed for want of memory; `None` without a memory controller.
    pub fn oom_kills(&self) -> Result<Option<u64>, Error> {
        let places = [("memory", "memory.oom_control"), ("", "memory.events")];
        for (controller, file) in places {
            let Some(folder) = self.folder(controller) else { continue };
            if let Some(text) = folder.read_if_there(file)? {
                return Ok(field(&text, "oom_kill"));
            }
        }
        Ok(None)
    }

    /// Kills every process of it and of the cgroups below it, and waits until none is left, for at most
    /// ten seconds. A frozen cgroup is thawed on the way: on v1 a frozen process can't die.
    pub fn kill(&self) -> Result<(), Error> {
        kill::kill(self)
    }

    /// Removes it with the cgroups below it; none may have a process. Goes on after a failure, and returns the first.
    pub fn remove(self) -> Result<(), Error> {
        let mut first = Ok(());
        for folder in self.folders() {
            first = first.and(tree::remove(folder));
        }
        first
    }

    /// Tries once to remove it with the cgroups below it; says whether it is gone. `false`: it is still busy, come again.
    pub fn try_remove(&self) -> Result<bool, Error> {
        let mut gone = true;
        for folder in self.folders() {
            gone &= tree::try_remove(folder)?;
        }
        Ok(gone)
    }

    pub(crate) fn folders(&self) -> impl Iterator<Item = &Folder> {
        self.v1.iter().chain(&self.unified)
    }

    /// Returns the folder that a controller's files are in; the empty name is the unified hierarchy.
    pub(crate) fn folder(&self, controller: &str) -> Option<&Folder> {
        match controller {
            "" => self.unified.as_ref(),
            name => self.v1.iter().find(|folder| folder.controllers.iter().any(|c| c == name)),
        }
    }
}

/// Kills what is in a cgroup and removes it with all below it. Quiet when it is not there.
pub fn remove_tree(hierarchies: &Hierarchies, path: &CgroupPath) -> Result<(), Error> {
    match Leaf::open(hierarchies, path)? {
        None => Ok(()),
        Some(leaf) => {
            leaf.kill()?;
            leaf.remove()
        }
    }
}

const ENOENT: i32 = Errno::NOENT.raw_os_error();

fn no_controller(write: &CgroupWrite) -> Error {
    let CgroupWrite { controller, file, value, .. } = write;
    let controller = if controller.is_empty() { file.split('.').next().unwrap_or_default() } else { controller };
    Error::NoController {
        controller: controller.to_owned(),
        file: file.clone(),
        value: value.chars().take(200).collect(),
    }
}

/// Returns the number behind a word at the start of a line: `oom_kill 3`.
fn field(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

// === Descending ===

/// Does what a cgroup needs before its child is used.
type Prepare = fn(parent: &Folder, child: Option<&Folder>) -> Result<(), Error>;

fn leave_alone(_: &Folder, _: Option<&Folder>) -> Result<(), Error> {
    Ok(())
}

/// Walks down to a cgroup; `None` when it is not there and is not to be made.
fn descend(hierarchy: &Hierarchy, path: &CgroupPath, walk: Walk, prepare: Prepare) -> Result<Option<Folder>, Error> {
    let mut here = open_root(hierarchy)?;
    for name in path.names() {
        let at = here.at.join(name);
        prepare(&here, None)?;
        if walk == Walk::Make {
            match mkdirat(&here.fd, name, Mode::from_raw_mode(FOLDER_MODE)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(Error::io("make", at, e)),
            }
        }
        let child = match openat(&here.fd, name, FOLDER_FLAGS, Mode::empty()) {
            Ok(fd) => Folder { controllers: hierarchy.controllers.clone(), fd, at },
            Err(Errno::NOENT) if walk == Walk::Find => return Ok(None),
            Err(e) => return Err(Error::io("open", at, e)),
        };
        prepare(&here, Some(&child))?;
        here = child;
    }
    Ok(Some(here))
}

pub(crate) const FOLDER_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_root(hierarchy: &Hierarchy) -> Result<Folder, Error> {
    let at = hierarchy.mount.clone();
    match rustix::fs::open(&at, FOLDER_FLAGS, Mode::empty()) {
        Ok(fd) => Ok(Folder { controllers: hierarchy.controllers.clone(), fd, at }),
        Err(e) => Err(Error::io("open", at, e)),
    }
}

/// A v1 cpuset is born empty, and nothing can enter it until it has cpus and memory nodes. cpusets(7).
fn prepare_v1(parent: &Folder, child: Option<&Folder>) -> Result<(), Error> {
    let Some(child) = child else { return Ok(()) };
    if !child.controllers.iter().any(|c| c == "cpuset") {
        return Ok(());
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = child.read_if_there(file)?;
        if own.is_some_and(|text| text.trim().is_empty())
            && let Some(inherited) = parent.read_if_there(file)?
        {
            child.write(file, inherited.trim())?;
        }
    }
    Ok(())
}

/// Lets the children of a v2 cgroup have its controllers, each by itself: one that can't be must not stop the others.
/// Refusals are passed over (a parent with processes of its own, one that is not ours); a limit that then lacks its file
/// says so.
fn hand_down(parent: &Folder, child: Option<&Folder>) -> Result<(), Error> {
    if child.is_some() || is_inhabited(parent)? {
        return Ok(());
    }
    let has = parent.read_if_there("cgroup.controllers")?.unwrap_or_default();
    let gives = parent.read_if_there("cgroup.subtree_control")?.unwrap_or_default();
    let given: Vec<&str> = gives.split_ascii_whitespace().collect();
    for controller in has.split_ascii_whitespace().filter(|c| !given.contains(c)) {
        let _refused = parent.write("cgroup.subtree_control", &format!("+{controller}"));
    }
    Ok(())
}

/// Says whether a cgroup other than the root has processes of its own. The kernel would refuse it most controllers, but hand
/// down those that can part threads (cpu, pids), which makes every cgroup below it one that no process can enter: see
/// Documentation/admin-guide/cgroup-v2.rst, "Threads".
fn is_inhabited(parent: &Folder) -> Result<bool, Error> {
    // The root has no type, and may have both.
    let is_root = parent.read_if_there("cgroup.type")?.is_none();
    Ok(!is_root && parent.read_if_there("cgroup.procs")?.is_some_and(|pids| !pids.trim().is_empty()))
}

// === impl Folder ===

/// Most read of one file. The longest we read is a list of some thousand process ids.
const FILE_BYTES_MAX: usize = 4 << 20;

impl Folder {
    pub(crate) fn open_file(&self, file: &str, access: OFlags) -> Result<OwnedFd, Error> {
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(&self.fd, file, flags, Mode::empty()).map_err(|e| Error::io("open", self.at.join(file), e))
    }

    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), Error> {
        let fd = self.open_file(file, OFlags::WRONLY)?;
        let refused = |source: std::io::Error| Error::Write {
            value: value.chars().take(200).collect(),
            path: self.at.join(file),
            source,
        };
        if value.len() > VALUE_BYTES_MAX {
            return Err(refused(Errno::TOOBIG.into()));
        }
        match rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes())) {
            Ok(n) if n == value.len() => Ok(()),
            Ok(_) => Err(refused(std::io::ErrorKind::WriteZero.into())),
            Err(e) => Err(refused(e.into())),
        }
    }

    /// Reads a file; `None` when it is not there, or when the cgroup is gone.
    pub(crate) fn read_if_there(&self, file: &str) -> Result<Option<String>, Error> {
        let fd = match self.open_file(file, OFlags::RDONLY) {
            Ok(fd) => fd,
            Err(Error::Io { source, .. }) if is_gone(&source) => return Ok(None),
            Err(other) => return Err(other),
        };
        read_all(fd, &self.at.join(file))
    }
}

/// Removal by another hand is no failure: ENOENT before, ENODEV when the file was open already.
pub(crate) fn is_gone(error: &std::io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(ENOENT) || code == Some(Errno::NODEV.raw_os_error())
}

fn read_all(fd: OwnedFd, at: &Path) -> Result<Option<String>, Error> {
    let mut bytes = Vec::new();
    let file = std::fs::File::from(fd);
    match std::io::Read::read_to_end(&mut std::io::Read::take(file, FILE_BYTES_MAX as u64), &mut bytes) {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(Error::io("read", at, e)),
    }
}
