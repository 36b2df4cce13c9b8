//! Which hierarchies the node has, from its mount table.

use crate::Error;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Controllers of v1 that we know. Needed because a v1 mount lists them among options such as `xattr` or `clone_children`.
const V1_CONTROLLERS: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "net_prio",
    "blkio",
    "perf_event",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
];

/// The cgroup file systems of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies {
    /// v1 hierarchies that carry controllers; `name=` ones are left out.
    pub v1: Vec<Hierarchy>,
    /// The v2 hierarchy. In hybrid mode it may carry few or no controllers, and still kills, freezes and counts events.
    pub unified: Option<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers, in the order the kernel names them.
    pub controllers: Vec<String>,
}

/// How the node is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// v1 hierarchies only.
    V1,
    /// v1 hierarchies with controllers, and a v2 tree beside them.
    Hybrid,
    /// v2 alone.
    V2,
}

/// What limits can be expressed in: the pure half of [`Hierarchies`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How the node is set up.
    pub mode: Mode,
    /// Controllers that v1 carries.
    pub v1: BTreeSet<String>,
    /// Controllers that v2 carries.
    pub unified: BTreeSet<String>,
}

impl Layout {
    /// Says whether limits are written in v2's terms.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        match self.mode {
            Mode::V2 => true,
            Mode::V1 | Mode::Hybrid => false,
        }
    }
}

// === impl Hierarchies ===

impl Hierarchies {
    /// Finds the hierarchies that this process sees.
    pub fn detect() -> Result<Self, Error> {
        let table = "/proc/self/mountinfo";
        let text = std::fs::read(table).map_err(|e| Error::io("read", table, e))?;
        Self::from_mountinfo(&String::from_utf8_lossy(&text), Path::new("/"))
    }

    /// Finds the hierarchies in a mount table whose paths are below `root`. See proc_pid_mountinfo(5).
    pub fn from_mountinfo(text: &str, root: &Path) -> Result<Self, Error> {
        let mut found = Self { v1: Vec::new(), unified: None };
        for mount in text.lines().filter_map(Mount::parse) {
            let at = root.join(mount.at.strip_prefix('/').unwrap_or(&mount.at));
            match mount.fstype {
                "cgroup2" if found.unified.is_none() => {
                    let controllers = read_controllers(&at.join("cgroup.controllers"));
                    found.unified = Some(Hierarchy { mount: at, controllers });
                }
                "cgroup" => {
                    let controllers: Vec<String> =
                        mount.options.split(',').filter(|o| V1_CONTROLLERS.contains(o)).map(str::to_owned).collect();
                    // A hierarchy mounted twice is one hierarchy; the first mount is the node's.
                    let known = found.v1.iter().any(|h| h.controllers == controllers);
                    if !controllers.is_empty() && !known {
                        found.v1.push(Hierarchy { mount: at, controllers });
                    }
                }
                _ => {}
            }
        }
        if found.v1.is_empty() && found.unified.is_none() { Err(Error::NoHierarchy) } else { Ok(found) }
    }

    /// Says how the node is set up.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match (self.v1.is_empty(), &self.unified) {
            (false, None) => Mode::V1,
            (false, Some(_)) => Mode::Hybrid,
            (true, _) => Mode::V2,
        }
    }

    /// Returns what limits can be expressed in.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout {
            mode: self.mode(),
            v1: self.v1.iter().flat_map(|h| h.controllers.iter().cloned()).collect(),
            unified: self.unified.iter().flat_map(|h| h.controllers.iter().cloned()).collect(),
        }
    }
}

/// The columns of a line of mountinfo that matter here.
struct Mount<'a> {
    at: String,
    fstype: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let at = unescape(left.split(' ').nth(4)?);
        let mut right = right.split(' ');
        let fstype = right.next()?;
        Some(Self { at, fstype, options: right.nth(1)? })
    }
}

/// Undoes the kernel's `\040` escapes.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        match code {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// A missing or unreadable file means no controllers: limits that need one then say so by name.
fn read_controllers(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,xattr,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
50 31 0:32 /deep /mnt/again rw - cgroup cgroup rw,memory
";

    #[test]
    fn named_and_repeated_hierarchies_are_passed_over() {
        let found = Hierarchies::from_mountinfo(V1, Path::new("/")).unwrap();
        assert_eq!(found.mode(), Mode::V1);
        let mounts: Vec<_> = found.v1.iter().map(|h| h.mount.to_str().unwrap()).collect();
        assert_eq!(mounts, ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory"]);
        assert!(found.layout().v1.contains("cpuacct"));
    }

    #[test]
    fn unified_tree_beside_v1_is_hybrid_even_without_controllers() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("{V1}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let found = Hierarchies::from_mountinfo(&text, dir.path()).unwrap();
        assert_eq!(found.mode(), Mode::Hybrid);
        assert!(!found.layout().is_v2());
    }

    #[test]
    fn unified_tree_alone_is_v2_with_the_controllers_its_file_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("sys/fs/cgroup");
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("cgroup.controllers"), "cpu io memory\n").unwrap();
        let line = "31 23 0:28 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchies::from_mountinfo(line, dir.path()).unwrap();
        assert_eq!(found.mode(), Mode::V2);
        assert!(found.layout().unified.contains("io"));
    }

    #[test]
    fn no_hierarchy_is_an_error() {
        assert!(matches!(Hierarchies::from_mountinfo("", Path::new("/")), Err(Error::NoHierarchy)));
    }

    #[test]
    fn escaped_mount_points_are_read() {
        for (given, expected) in [(r"/a\040b", "/a b"), (r"/a\134", "/a\\"), (r"/a\", "/a\\"), (r"/a\9z", "/a\\9z")] {
            assert_eq!(unescape(given), expected);
        }
    }
}
