//! Removes a folder and all below it, however deep, with a constant number of open files.

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the names under which inner folders wait for their turn.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Removes `name` below `parent`; quiet when it is not there. Links are removed, never followed.
///
/// Inner folders that aren't empty are moved into `scratch`, a folder on the same file system, and emptied from there:
/// no recursion, so that no depth of nesting can use up the stack or the descriptors. `removed` is called after
/// each entry and can end it there by failing.
///
/// # Errors
/// What unlinkat(2), openat(2) or renameat2(2) said of the first entry that does not go, or what `removed` said.
///
/// # Panics
/// Never: the names it makes hold no zero byte.
pub fn remove_tree(
    parent: BorrowedFd<'_>,
    name: &CStr,
    scratch: BorrowedFd<'_>,
    removed: &mut dyn FnMut() -> Result<(), Errno>,
) -> Result<(), Errno> {
    if remove_one(parent, name)? {
        return removed();
    }
    let mut waiting: Vec<CString> = Vec::new();
    empty(parent, name, scratch, &mut waiting, removed)?;
    while let Some(inner) = waiting.pop() {
        empty(scratch, &inner, scratch, &mut waiting, removed)?;
    }
    Ok(())
}

/// Removes a file or an empty folder; `false` when it is a folder with something in it.
fn remove_one(parent: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

fn empty(
    parent: BorrowedFd<'_>,
    name: &CStr,
    scratch: BorrowedFd<'_>,
    waiting: &mut Vec<CString>,
    removed: &mut dyn FnMut() -> Result<(), Errno>,
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    // Removing while reading can make some file systems pass over an entry, hence once more until nothing is found.
    loop {
        let mut found = false;
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let inner = entry.file_name();
            if matches!(inner.to_bytes(), b"." | b"..") {
                continue;
            }
            found = true;
            if remove_one(rustix::fd::AsFd::as_fd(&folder), inner)? {
                removed()?;
            } else {
                waiting.push(set_aside(rustix::fd::AsFd::as_fd(&folder), inner, scratch)?);
            }
        }
        if !found {
            break;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?;
    removed()
}

fn set_aside(parent: BorrowedFd<'_>, name: &CStr, scratch: BorrowedFd<'_>) -> Result<CString, Errno> {
    loop {
        let free = format!(".removing-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let free = CString::new(free).expect("digits and letters hold no zero byte");
        match rustix::fs::renameat_with(parent, name, scratch, &free, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            result => return result.map(|()| free),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn deep_wide_and_linked_trees_go_and_nothing_else_does() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        let tree = temp.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        for at in 0..500 {
            std::fs::write(tree.join(at.to_string()), "x").unwrap();
        }
        // Deeper than a process may have files open, in names too long for one path.
        let mut folder = rustix::fs::open(&tree, OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&folder, "deep", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&folder, "side", Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, "deep", OFlags::PATH, Mode::empty()).unwrap();
        }
        let root = rustix::fs::open(temp.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let mut count = 0;
        remove_tree(root.as_fd(), c"tree", root.as_fd(), &mut || {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 1 + 1 + 500 + 6000);
        remove_tree(root.as_fd(), c"tree", root.as_fd(), &mut || {
            count += 1;
            Ok(())
        })
        .unwrap();
        let left: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["outside"]);
        assert!(outside.join("kept").exists());
    }
}
