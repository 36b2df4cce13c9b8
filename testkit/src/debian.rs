//! Programs for images, out of Debian packages: fetched once, unpacked in the cache, never installed.

use crate::tree::Tree;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where shared libraries lie, in packages and in the images made of them.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
/// Bounds of a download: a mirror that hangs must not hang the ring.
const APT_BOUNDS: [&str; 3] = ["Acquire::http::Timeout=30", "Acquire::https::Timeout=30", "Acquire::Retries=3"];

/// Returns the folder of what is built or fetched once: `${XDG_CACHE_HOME:-~/.cache}/orlop`.
///
/// # Panics
/// When neither variable is set.
#[must_use]
pub fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|base| !base.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    base.unwrap_or_else(home).join("orlop")
}

/// Returns the folder of an unpacked package, fetching it when it isn't in the cache.
///
/// # Errors
/// When it can't be fetched or unpacked.
pub fn package(name: &str) -> io::Result<PathBuf> {
    let folder = cache().join("debian").join(release()?);
    let unpacked = folder.join(name);
    if !unpacked.exists() {
        fs::create_dir_all(&folder)?;
        let work = tempfile::Builder::new().prefix("fetch-").tempdir_in(&folder)?;
        fetch(name, work.path()).or_else(|_| update().and_then(|()| fetch(name, work.path())))?;
        let tree = work.path().join("tree");
        let archive = fs::read_dir(work.path())?.flatten().map(|entry| entry.path()).find(|path| path.is_file());
        let archive = archive.ok_or_else(|| io::Error::other(format!("apt-get download {name} left no file")))?;
        run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&tree))?;
        match fs::rename(&tree, &unpacked) {
            // Another test fetched it at the same time; the two are the same.
            Err(_) if unpacked.exists() => (),
            other => other?,
        }
    }
    Ok(unpacked)
}

/// Adds a program of a package to a tree, and the libraries it needs.
///
/// The libraries come from the packages named and otherwise from this host, which is of the same release.
///
/// # Errors
/// When a package can't be fetched, or a library isn't to be found.
pub fn add_program(tree: &mut Tree, from: &str, to: &str, packages: &[&str]) -> io::Result<()> {
    let folders = packages.iter().map(|name| package(name)).collect::<io::Result<Vec<_>>>()?;
    let program = folders.first().ok_or_else(|| io::Error::other("no package is named"))?.join(from);
    tree.copy(to, &program)?;
    add_libraries(tree, &program, &folders)
}

/// Adds the libraries that a program needs.
fn add_libraries(tree: &mut Tree, program: &Path, packages: &[PathBuf]) -> io::Result<()> {
    let search: Vec<String> = packages
        .iter()
        .flat_map(|package| [package.join("usr").join(LIBRARIES), package.join(LIBRARIES)])
        .map(|path| path.display().to_string())
        .collect();
    let output = Command::new("ldd").arg(program).env("LD_LIBRARY_PATH", search.join(":")).output()?;
    for needed in needed(&String::from_utf8_lossy(&output.stdout))? {
        let name = Path::new(&needed).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // The loader's place is fixed in every program.
        let place = if name.starts_with("ld-linux") { "lib64" } else { LIBRARIES };
        tree.copy(&format!("{place}/{name}"), &fs::canonicalize(&needed)?)?;
    }
    Ok(())
}

/// Reads ldd's lines: `libc.so.6 => /lib/… (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`, `linux-vdso.so.1 (0x…)`.
fn needed(lines: &str) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for line in lines.lines().map(str::trim) {
        if line.ends_with("not found") {
            return Err(io::Error::other(line.to_owned()));
        }
        let target = line.split_once("=> ").map_or(line, |(_, target)| target);
        let path = target.split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            paths.push(path.to_owned());
        }
    }
    Ok(paths)
}

/// Adds Debian's busybox with all its applets as hard links, users, groups and the usual folders.
///
/// The dynamic one: the static is built so that its shell runs applets even where their files are masked.
///
/// # Errors
/// When the package can't be fetched.
pub fn add_busybox(tree: &mut Tree) -> io::Result<()> {
    add_program(tree, "bin/busybox", "bin/busybox", &["busybox"])?;
    let output = Command::new(package("busybox")?.join("bin/busybox")).arg("--list-full").output()?;
    for applet in String::from_utf8_lossy(&output.stdout).lines().filter(|applet| *applet != "bin/busybox") {
        tree.hard_link(applet, "bin/busybox");
    }
    for (folder, mode) in
        [("tmp", 0o1777), ("root", 0o700), ("var/log", 0o755), ("run", 0o755), ("etc", 0o755), ("home", 0o755)]
    {
        tree.folder(folder, mode);
    }
    tree.file("etc/passwd", 0o644, USERS);
    tree.file("etc/group", 0o644, GROUPS);
    Ok(())
}

/// Users of the test images.
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
    www-data:x:33:33:www-data:/var/www:/bin/false\n\
    nobody:x:65534:65534:nobody:/home:/bin/false\n";
/// Groups of the test images.
const GROUPS: &str = "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n";

fn release() -> io::Result<String> {
    let text = fs::read_to_string("/etc/os-release")?;
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim_matches('"'));
    match (field("ID="), field("VERSION_ID=")) {
        (Some(id), Some(version)) => Ok(format!("{id}-{version}")),
        _ => Err(io::Error::other("/etc/os-release names no release; test images are made from Debian packages")),
    }
}

fn fetch(name: &str, folder: &Path) -> io::Result<()> {
    run(apt().current_dir(folder).args(["download", name]))
}

/// A fresh machine has no package lists, and old lists name versions that are gone.
fn update() -> io::Result<()> {
    run(apt().arg("update"))
}

/// apt-get with bounds on every download.
pub(crate) fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet=2");
    for bound in APT_BOUNDS {
        command.args(["-o", bound]);
    }
    // Downloads go to a folder of root's, which the sandbox user can't enter.
    command.args(["-o", "APT::Sandbox::User=root"]);
    command
}

/// Runs a command to its end; what it wrote on standard error becomes the error.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_libraries_are_read_and_missing_ones_are_named() {
        let lines =
            "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(needed(lines).unwrap(), ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert!(needed("\tlibpcre2.so => not found\n").unwrap_err().to_string().contains("libpcre2"));
    }

    #[test]
    fn busybox_tree_has_a_shell_and_its_libraries() {
        let mut tree = Tree::default();
        add_busybox(&mut tree).unwrap();
        let tar = tree.to_tar().unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let names: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        for expected in
            ["bin/sh", "bin/ls", "lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6", "etc/passwd"]
        {
            assert!(names.iter().any(|name| name == expected), "{expected} is missing in {names:?}");
        }
    }
}
