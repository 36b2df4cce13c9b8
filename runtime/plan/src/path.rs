//! Paths inside a container, as text.

use std::path::{Component, Path};

/// Returns an absolute path without doubled slashes, `.` and `..`; what climbs above the root stays at it.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => names.push(name.to_str().unwrap_or_default()),
            Component::ParentDir => {
                names.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    format!("/{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_brought_to_one_form_and_stay_inside() {
        for (given, expected) in [
            ("/", "/"),
            ("", "/"),
            ("a/b", "/a/b"),
            ("//a/./b/", "/a/b"),
            ("/a/../../b", "/b"),
            ("/proc/../proc/sys", "/proc/sys"),
            ("/..", "/"),
        ] {
            assert_eq!(clean(given), expected, "{given}");
        }
    }
}
