//! The path of a cgroup, checked once.

use crate::Error;
use std::fmt;

/// Longest path accepted. A kubelet's own takes some 120 bytes, ours adds 140; PATH_MAX is 4096 with the mount point.
const PATH_BYTES_MAX: usize = 3000;

/// A path below the root of every hierarchy: starts with `/`, never is `/` itself, holds no `.` and no `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(String);

impl CgroupPath {
    /// Parses a path. Doubled and trailing slashes are dropped, as the kernel would.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |why| Err(Error::BadPath { path: text.chars().take(200).collect(), why });
        if text.len() > PATH_BYTES_MAX {
            return refuse("is too long");
        }
        if !text.starts_with('/') {
            return refuse("does not start with '/'");
        }
        if text.contains(['\0', '\n']) {
            return refuse("holds a NUL or a line break");
        }
        let mut clean = String::with_capacity(text.len());
        for name in text.split('/').filter(|name| !name.is_empty()) {
            if name == "." || name == ".." {
                return refuse("holds '.' or '..'");
            }
            clean.push('/');
            clean.push_str(name);
        }
        if clean.is_empty() {
            refuse("is the root of the hierarchy, which is nobody's to change")
        } else {
            Ok(Self(clean))
        }
    }

    /// Returns the path as text, with its leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the names along the path, outermost first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_hierarchy_are_refused() {
        for bad in ["", "a", "/", "//", "/a/../b", "/./a", "/a/..", "/a\0b", "/a\nb", &format!("/{}", "a".repeat(3000))]
        {
            assert!(CgroupPath::parse(bad).is_err(), "{bad:?}");
        }
        for (given, clean) in [("/a", "/a"), ("/a//b/", "/a/b"), ("/kubepods/pod..x", "/kubepods/pod..x")] {
            assert_eq!(CgroupPath::parse(given).unwrap().as_str(), clean);
        }
    }
}
