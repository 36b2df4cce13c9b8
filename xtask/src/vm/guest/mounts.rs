//! What is mounted in the machine.

use crate::vm::Outcome;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are written to, covered by memory.
const COVERED: [&str; 5] = ["/tmp", "/run", "/mnt", "/var/lib", "/var/tmp"];

/// Mounts everything. Folders of `keep` are still seen where they are, read-only, when one is below a covered one.
pub fn make(keep: &[PathBuf]) -> Outcome<()> {
    put("proc", "/proc", "proc")?;
    put("sysfs", "/sys", "sysfs")?;
    put("cgroup2", "/sys/fs/cgroup", "cgroup2")?;
    // The kernel has mounted /dev before us.
    for (kind, at) in [("devpts", "/dev/pts"), ("tmpfs", "/dev/shm")] {
        fs::create_dir_all(at).map_err(|error| format!("make {at}: {error}"))?;
        put(kind, at, kind)?;
    }
    let kept = keep.iter().filter(|folder| COVERED.iter().any(|covered| folder.starts_with(covered)));
    let copy = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mut copies = Vec::new();
    for folder in kept {
        let opened = open_tree(CWD, folder.as_path(), copy);
        copies.push((folder, opened.map_err(|error| format!("keep {}: {error}", folder.display()))?));
    }
    for folder in COVERED {
        put("tmpfs", folder, "tmpfs")?;
    }
    for (folder, copy) in copies {
        uncover(folder, &copy).map_err(|error| format!("keep {}: {error}", folder.display()))?;
    }
    Ok(())
}

fn put(source: &str, at: &str, kind: &str) -> Outcome<()> {
    // Debian's folders: each is there.
    mount(source, at, kind, MountFlags::empty(), None).map_err(|error| format!("mount {kind} at {at}: {error}"))
}

fn uncover(folder: &Path, copy: &impl std::os::fd::AsFd) -> Result<(), std::io::Error> {
    fs::create_dir_all(folder)?;
    let target = rustix::fs::open(folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(copy, "", &target, "", flags).map_err(|error: Errno| error.into())
}
