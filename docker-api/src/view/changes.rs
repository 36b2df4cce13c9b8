//! What a container has changed, as `docker diff` shows it. Pure.

use orlop_model::files::{ChangeKind, FileChange};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What every container is given when it starts, and is no change of its own. Where an image has none of it, it is made.
const GIVEN: &[&str] = &[
    "/.dockerenv",
    "/dev",
    "/dev/console",
    "/dev/mqueue",
    "/dev/pts",
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/proc",
    "/sys",
];
/// The folder of some of it, which is given too when the image has none.
const GIVEN_FOLDER: &str = "/etc";

/// Returns changes as clients get them; `null` when there are none. A folder in which something came or went has changed.
pub(crate) fn shown(changes: &[FileChange]) -> Value {
    let mut kinds: BTreeMap<PathBuf, ChangeKind> =
        changes.iter().filter(|change| !is_given(change)).map(|change| (change.path.clone(), change.kind)).collect();
    let etc = Path::new(GIVEN_FOLDER);
    let is_alone = !kinds.keys().any(|path| path != etc && path.starts_with(etc));
    if kinds.get(etc) == Some(&ChangeKind::Added) && is_alone {
        kinds.remove(etc);
    }
    let parents: Vec<PathBuf> = kinds
        .iter()
        .filter(|(_, kind)| matches!(kind, ChangeKind::Added | ChangeKind::Deleted))
        .filter_map(|(path, _)| path.parent())
        .filter(|parent| *parent != Path::new("/"))
        .map(Path::to_owned)
        .collect();
    for parent in parents {
        kinds.entry(parent).or_insert(ChangeKind::Modified);
    }
    let lines: Vec<Value> =
        kinds.iter().map(|(path, kind)| json!({ "Path": path.to_string_lossy(), "Kind": number(*kind) })).collect();
    if lines.is_empty() { Value::Null } else { json!(lines) }
}

fn is_given(change: &FileChange) -> bool {
    change.kind == ChangeKind::Added && GIVEN.iter().any(|given| change.path == Path::new(given))
}

fn number(kind: ChangeKind) -> u8 {
    match kind {
        ChangeKind::Modified => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(changes: &[(&str, ChangeKind)]) -> Value {
        shown(&changes.iter().map(|(path, kind)| FileChange { path: path.into(), kind: *kind }).collect::<Vec<_>>())
    }

    #[test]
    fn folders_change_with_what_comes_and_goes_and_what_was_given_is_left_out() {
        use ChangeKind::{Added, Deleted, Modified};
        let line = |path: &str, kind: u8| json!({ "Path": path, "Kind": kind });
        assert_eq!(
            of(&[("/proc", Added), ("/etc", Added), ("/etc/hosts", Added), ("/test", Added)]),
            json!([line("/test", 1)])
        );
        assert_eq!(of(&[("/etc", Added), ("/etc/own", Added)]), json!([line("/etc", 1), line("/etc/own", 1)]));
        assert_eq!(
            of(&[("/a/b/gone", Deleted), ("/a/c", Modified), ("/n", Added), ("/n/m", Added)]),
            json!([line("/a/b", 0), line("/a/b/gone", 2), line("/a/c", 0), line("/n", 1), line("/n/m", 1)])
        );
        assert_eq!(of(&[("/proc", Added)]), Value::Null);
    }
}
