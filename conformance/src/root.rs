//! A program run in a tree of its own: another root folder, with the ground's folders in their usual places.
//!
//! This program starts itself once more below `unshare -m`, changes its root there and becomes the other program. Its mounts
//! die with the last process that lives among them. Not a chroot: runtimes that change their root again need a real one.

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How this program is called when it starts itself once more.
pub const ENTER: &str = "enter";
/// Where programs of a tree are looked for.
const PATH: &str = "/usr/sbin:/usr/bin";

/// What to do inside the new mount namespace.
#[derive(clap::Args)]
pub struct Entry {
    /// The tree.
    root: PathBuf,
    /// The ground: seen inside at its own path.
    ground: PathBuf,
    /// Folders of the ground and where they are seen inside, as `run=/run`.
    #[arg(long)]
    place: Vec<String>,
    /// The program inside, and its arguments.
    #[arg(last = true)]
    program: Vec<OsString>,
}

/// Makes `command`, which must run `unshare`, start a program inside a tree.
pub fn enter(command: &mut Command, root: &Path, ground: &Path, places: &[(&str, &str)]) -> io::Result<()> {
    command.args(["--mount", "--propagation", "slave"]).arg(std::env::current_exe()?);
    command.arg(ENTER).arg(root).arg(ground);
    for (folder, place) in places {
        command.arg("--place").arg(format!("{folder}={place}"));
    }
    command.arg("--").env("PATH", PATH);
    Ok(())
}

/// Changes the root and becomes the program. Returns only with an error.
pub fn run(entry: &Entry) -> io::Error {
    match change_root(entry) {
        Err(error) => io::Error::other(format!("enter {}: {error}", entry.root.display())),
        Ok(()) => match entry.program.split_first() {
            None => io::Error::other("no program is named"),
            Some((program, arguments)) => Command::new(program).args(arguments).exec(),
        },
    }
}

fn change_root(entry: &Entry) -> io::Result<()> {
    let root = &entry.root;
    // pivot_root wants a mount, and a mount of its own can be made read-only: the cache stays as it is.
    mount_bind(root, root)?;
    for folder in ["proc", "sys", "dev"] {
        mount_bind_recursive(Path::new("/").join(folder), root.join(folder))?;
    }
    for folder in ["tmp", "opt"] {
        mount("tmpfs", root.join(folder), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)?;
    }
    let same = inside(root, &entry.ground);
    fs::create_dir_all(&same)?;
    mount_bind(&entry.ground, same)?;
    for place in &entry.place {
        let (folder, at) = place.split_once('=').ok_or_else(|| io::Error::other("a place is FOLDER=PATH"))?;
        mount_bind(entry.ground.join(folder), inside(root, Path::new(at)))?;
    }
    mount_remount(root, MountFlags::BIND | MountFlags::RDONLY, c"")?;
    // The old root lies over the new one until it is taken away; pivot_root(2), "pivot_root(".", ".")".
    chdir(root)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    // Runtimes bind mounts into containers and expect, as on most hosts, that they may be shared.
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)?;
    Ok(())
}

/// Returns where a path of the inside lies while the tree is still a folder.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
