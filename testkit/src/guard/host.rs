//! Mounts, folders and control groups of the host.

use super::clean::CLAIMS;
use super::snapshot::{Kind, Snapshot};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose entries must be the same after a test: where daemons keep what should not outlive them.
const TEMP_FOLDERS: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// The same for run folders; `/var/lib` is here because a default root would be made there by mistake.
const RUN_FOLDERS: [&str; 6] = ["/run", "/run/lock", "/run/netns", "/var/lib", "/var/lib/cni", "/var/log/pods"];

/// How deep control groups are compared, from the root of each hierarchy. Ours begin at the first level.
const CGROUP_LEVELS: u32 = 2;

/// One line of a mount table, as far as it matters here. proc_pid_mountinfo(5).
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// File system type.
    pub kind: String,
    /// Its source.
    pub source: String,
}

/// Returns the mount table of this process.
pub fn mounts() -> Vec<Mount> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let point = left.split(' ').nth(4)?.replace("\\040", " ");
    let mut right = right.split(' ');
    Some(Mount { point: point.into(), kind: right.next()?.to_owned(), source: right.next()?.to_owned() })
}

/// Adds the mount table.
pub fn add_mounts(snapshot: &mut Snapshot) {
    for Mount { point, kind, source } in mounts() {
        snapshot.add_counted(Kind::Mount, "", &format!("{} ({kind}, {source})", point.display()));
    }
}

/// Adds the entries of the host's temporary and run folders.
pub fn add_folders(snapshot: &mut Snapshot) {
    for (kind, folders) in [(Kind::TempFile, TEMP_FOLDERS.as_slice()), (Kind::RunFile, RUN_FOLDERS.as_slice())] {
        for folder in folders {
            for entry in entries(Path::new(folder)) {
                if entry == Path::new(CLAIMS) {
                    add_claims(snapshot, &entry);
                } else {
                    snapshot.add(kind, "", entry.display().to_string(), "");
                }
            }
        }
    }
}

/// Adds what daemons have written down to have for themselves, each by its root: that says whose it is.
fn add_claims(snapshot: &mut Snapshot, folder: &Path) {
    let claims = entries(folder);
    for claim in &claims {
        let text = fs::read_to_string(claim).unwrap_or_default();
        let root = serde_json::from_str::<serde_json::Value>(&text).map(|claim| claim["root"].to_string());
        snapshot.add(Kind::RunFile, "", format!("{} of {}", claim.display(), root.unwrap_or_default()), "");
    }
    if claims.is_empty() {
        snapshot.add(Kind::RunFile, "", folder.display().to_string(), "");
    }
}

/// Adds everything below a folder, at any depth.
pub fn add_tree(snapshot: &mut Snapshot, kind: Kind, place: &str, folder: &Path) {
    for entry in entries(folder) {
        if is_folder(&entry) {
            add_tree(snapshot, kind, place, &entry);
        }
        snapshot.add(kind, place, entry.display().to_string(), "");
    }
}

/// Adds the reservations in an IPAM folder: the files, at any depth, that are called like an address.
///
/// What a plugin keeps beside them (its lock, the address it gave last) is its memory, and no reservation.
pub fn add_reservations(snapshot: &mut Snapshot, place: &str, folder: &Path) {
    for entry in entries(folder) {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if is_folder(&entry) {
            add_reservations(snapshot, place, &entry);
        } else if name.parse::<std::net::IpAddr>().is_ok() {
            snapshot.add(Kind::IpamFile, place, entry.display().to_string(), "");
        }
    }
}

/// Returns the roots of all control group hierarchies, the unified one included.
pub fn hierarchies() -> Vec<PathBuf> {
    mounts().into_iter().filter(|mount| mount.kind.starts_with("cgroup")).map(|mount| mount.point).collect()
}

/// Adds the upper levels of every hierarchy.
pub fn add_cgroups(snapshot: &mut Snapshot) {
    for root in hierarchies() {
        add_cgroups_below(snapshot, &root, CGROUP_LEVELS);
    }
}

fn add_cgroups_below(snapshot: &mut Snapshot, folder: &Path, levels: u32) {
    if levels == 0 {
        return;
    }
    for entry in entries(folder).into_iter().filter(|entry| is_folder(entry)) {
        add_cgroups_below(snapshot, &entry, levels - 1);
        snapshot.add(Kind::Cgroup, "", entry.display().to_string(), "");
    }
}

/// Returns the entries of a folder; none of one that isn't there.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// Says whether the path itself, not what a link there points to, is a folder.
pub fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_line_is_read_with_and_without_optional_fields() {
        for line in [
            "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue",
            "36 35 98:0 / /mnt2 rw - ext3 /dev/root rw",
        ] {
            let mount = parse_mount(line).unwrap();
            assert_eq!((mount.point.to_str().unwrap(), mount.kind.as_str()), ("/mnt2", "ext3"));
            assert_eq!(mount.source, "/dev/root");
        }
    }

    #[test]
    fn only_addresses_are_reservations() {
        let scratch = crate::scratch::Scratch::new().unwrap();
        let network = scratch.folder("net").unwrap();
        for name in ["10.88.0.2", "lock", "last_reserved_ip.0", "fd00::2"] {
            fs::write(network.join(name), "").unwrap();
        }
        let mut snapshot = Snapshot::default();
        add_reservations(&mut snapshot, "", scratch.path());
        assert_eq!(Snapshot::default().leaks_until(&snapshot).len(), 2);
    }
}
