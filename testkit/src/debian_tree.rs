//! A file tree of another Debian suite, beside this one: packages with all they depend on, unpacked in the cache.
//!
//! Nothing is installed: a private apt with an empty list of installed packages finds what the packages named need. The
//! tree is made once and then stays as it is, though the suite moves on; remove its folder in the cache for a newer one.

use crate::debian::{apt, cache, run};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What signs every suite of Debian; of the package `debian-archive-keyring`, which is on every Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Folders that are links since Debian merged them; a package of its own makes them, which isn't needed otherwise.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// Folders that a machine has and no package brings: places for mounts.
const PLACES: [&str; 7] = ["proc", "sys", "dev", "run", "tmp", "root", "opt"];
/// File beside the tree: what was unpacked, one `package version` a line.
const VERSIONS: &str = "versions";
/// Part of a tree's key: raise it when what is made here changes.
const LAYOUT: &str = "tree 1";

/// A tree in the cache.
#[derive(Clone, Debug)]
pub struct DebianTree {
    /// Its root folder.
    pub root: PathBuf,
    versions: BTreeMap<String, String>,
}

// === impl DebianTree ===

impl DebianTree {
    /// Returns the tree of the packages, fetched and unpacked when the cache doesn't have it; `folders` are made in it.
    ///
    /// # Errors
    /// When it can't be fetched or unpacked.
    pub fn of(suite: &str, packages: &[&str], folders: &[&str]) -> io::Result<Self> {
        let trees = cache().join("debian");
        let home = trees.join(format!("{suite}-{}", key(packages, folders)));
        if !home.exists() {
            fs::create_dir_all(&trees)?;
            eprintln!("fetching {} from Debian {suite}", packages.join(", "));
            // Made beside its place and moved there whole: what was interrupted is not taken for a tree.
            let work = tempfile::Builder::new().prefix("tree-").tempdir_in(&trees)?;
            make(work.path(), suite, packages, folders)?;
            match fs::rename(work.path().join("done"), &home) {
                Err(_) if home.exists() => (),
                other => other?,
            }
        }
        let versions = parse_versions(&fs::read_to_string(home.join(VERSIONS))?);
        Ok(Self { root: home.join("root"), versions })
    }

    /// Links iptables to the one over nf_tables, as the script of its package would.
    ///
    /// # Errors
    /// When the tree can't be written.
    pub fn link_iptables(&self) -> io::Result<()> {
        for name in ["iptables", "ip6tables"] {
            match symlink(format!("{name}-nft"), self.root.join("usr/sbin").join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => (),
            }
        }
        Ok(())
    }

    /// Returns the version of a package that is in it.
    #[must_use]
    pub fn version(&self, package: &str) -> &str {
        self.versions.get(package).map_or("of no known version", String::as_str)
    }
}

fn key(packages: &[&str], folders: &[&str]) -> String {
    let digest = Sha256::digest(format!("{LAYOUT} {packages:?} {folders:?}"));
    hex::encode(digest)[..12].to_owned()
}

fn parse_versions(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(package, version)| (package.to_owned(), version.to_owned())).collect()
}

fn make(work: &Path, suite: &str, packages: &[&str], folders: &[&str]) -> io::Result<()> {
    let root = work.join("done/root");
    lay_out(&root, folders)?;
    let mut versions = String::new();
    for archive in download(&work.join("apt"), suite, packages)? {
        run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&root))?;
        let shown =
            Command::new("dpkg-deb").args(["-W", "--showformat", "${Package} ${Version}\n"]).arg(&archive).output()?;
        versions.push_str(&String::from_utf8_lossy(&shown.stdout));
    }
    fs::write(work.join("done").join(VERSIONS), versions)
}

fn lay_out(root: &Path, folders: &[&str]) -> io::Result<()> {
    for name in MERGED {
        fs::create_dir_all(root.join("usr").join(name))?;
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    for place in PLACES.iter().chain(folders) {
        fs::create_dir_all(root.join(place))?;
    }
    fs::create_dir_all(root.join("var"))?;
    symlink("/run", root.join("var/run"))?;
    fs::create_dir_all(root.join("etc"))?;
    for file in ["passwd", "group", "hosts", "resolv.conf"] {
        // Of this machine, where it has them: a tree of packages alone has none.
        let content = fs::read(Path::new("/etc").join(file)).unwrap_or_default();
        fs::write(root.join("etc").join(file), content)?;
    }
    Ok(())
}

/// Downloads the packages and all they depend on; returns the archives.
fn download(folder: &Path, suite: &str, packages: &[&str]) -> io::Result<Vec<PathBuf>> {
    let archives = folder.join("cache/archives");
    for needed in ["lists/partial", "state", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(needed))?;
    }
    fs::write(folder.join("status"), "")?;
    let sources = format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror()?);
    fs::write(folder.join("sources.list"), sources)?;
    run(private_apt(folder).arg("update"))?;
    let download = ["install", "--yes", "--download-only", "--no-install-recommends"];
    run(private_apt(folder).args(download).args(packages))?;
    let files = fs::read_dir(&archives)?.flatten().map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

/// apt with this machine's settings (a proxy, say), but with sources, lists and packages of its own.
fn private_apt(folder: &Path) -> Command {
    let mut command = apt();
    let own = |setting: &str, name: &str| format!("{setting}={}", folder.join(name).display());
    for option in [
        own("Dir::Etc::SourceList", "sources.list"),
        "Dir::Etc::SourceParts=-".to_owned(),
        own("Dir::State", "state"),
        own("Dir::State::Lists", "lists"),
        own("Dir::State::status", "status"),
        own("Dir::Cache", "cache"),
        "Acquire::Languages=none".to_owned(),
    ] {
        command.args(["-o", &option]);
    }
    command
}

/// Returns the mirror that this machine has its own Debian from: the one it is known to reach.
fn mirror() -> io::Result<String> {
    let release = codename(&fs::read_to_string("/etc/os-release")?)?;
    let format = ["indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"];
    let output = Command::new("apt-get").args(format).output()?;
    let targets = String::from_utf8_lossy(&output.stdout).into_owned();
    choose_mirror(&targets, &release)
        .ok_or_else(|| io::Error::other(format!("the sources of apt name no mirror for {release} main")))
}

fn codename(os_release: &str) -> io::Result<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(str::to_owned).ok_or_else(|| io::Error::other("/etc/os-release names no release of Debian"))
}

fn choose_mirror(targets: &str, release: &str) -> Option<String> {
    let wanted = format!("{release} main ");
    targets.lines().find_map(|line| line.strip_prefix(&wanted)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_is_the_one_of_the_release_itself() {
        let targets = "bookworm-security main http://security.example/debian-security/\n\
            bookworm contrib http://one.example/debian/\n\
            bookworm main http://two.example/debian/\n\
            nodistro main http://three.example/\n";
        assert_eq!(choose_mirror(targets, "bookworm").as_deref(), Some("http://two.example/debian/"));
        assert_eq!(choose_mirror(targets, "trixie"), None);
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(), "bookworm");
    }

    #[test]
    fn versions_are_read_and_an_unknown_one_is_named_so() {
        let tree = DebianTree { root: PathBuf::new(), versions: parse_versions("runc 1.3.6+ds1-1\nlibc6 2.43-7\n") };
        assert_eq!(tree.version("runc"), "1.3.6+ds1-1");
        assert_eq!(tree.version("crun"), "of no known version");
    }
}
