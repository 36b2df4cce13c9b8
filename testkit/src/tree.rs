//! A file tree for an image: put together in memory, written as one layer.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Folder { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    HardLink { to: String },
    SymLink { to: String },
}

/// A file tree, all of it owned by root. Paths have no leading slash; folders above an entry are made with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// Adds a folder.
    pub fn folder(&mut self, path: &str, mode: u32) -> &mut Self {
        self.add(path, Entry::Folder { mode })
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> &mut Self {
        self.add(path, Entry::File { mode, content: content.into() })
    }

    /// Adds a copy of a file of the host, with its mode.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn copy(&mut self, path: &str, from: &Path) -> io::Result<&mut Self> {
        let mode = fs::metadata(from)?.permissions().mode() & 0o7777;
        Ok(self.file(path, mode, fs::read(from)?))
    }

    /// Adds a further name of a file of this tree.
    pub fn hard_link(&mut self, path: &str, to: &str) -> &mut Self {
        self.add(path, Entry::HardLink { to: to.to_owned() })
    }

    /// Adds a symbolic link.
    pub fn sym_link(&mut self, path: &str, to: &str) -> &mut Self {
        self.add(path, Entry::SymLink { to: to.to_owned() })
    }

    /// Writes the tree as a tar archive. The same tree gives the same bytes.
    ///
    /// # Errors
    /// When a path is longer than the format allows.
    pub fn to_tar(&self) -> io::Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        // A hard link can only be made to what is there already.
        let is_link = |entry: &Entry| matches!(entry, Entry::HardLink { .. });
        let (links, others): (Vec<_>, Vec<_>) = self.entries.iter().partition(|(_, entry)| is_link(entry));
        for (path, entry) in others.into_iter().chain(links) {
            append(&mut tar, path, entry)?;
        }
        tar.into_inner()
    }

    fn add(&mut self, path: &str, entry: Entry) -> &mut Self {
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry::Folder { mode: 0o755 });
        }
        self.entries.insert(path.to_owned(), entry);
        self
    }
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, entry: &Entry) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(0o777);
    header.set_size(0);
    match entry {
        Entry::Folder { mode } => {
            header.set_mode(*mode);
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Entry::File { mode, content } => {
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_slice())
        }
        Entry::HardLink { to } => {
            header.set_entry_type(tar::EntryType::Link);
            tar.append_link(&mut header, path, to)
        }
        Entry::SymLink { to } => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, to)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them_and_links_after_their_target() {
        let mut tree = Tree::default();
        tree.hard_link("bin/a", "bin/z").file("bin/z", 0o755, "z").sym_link("sh", "bin/a");
        let tar = tree.to_tar().unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let names: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["bin/", "bin/z", "sh", "bin/a"]);
        assert_eq!(tree.to_tar().unwrap(), tar);
    }
}
