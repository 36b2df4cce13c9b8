//! The run folder: what is known of a sandbox when its shim is dead.
//!
//! ```text
//! <run>/spawner.sock
//! <run>/sandboxes/<id>/sandbox.json     written before anything is made, deleted when all of it is gone
//!                      shim.sock
//!                      exits/<container>  written by the shim, deleted when its task is dropped
//!                      resolv.conf hosts hostname
//! ```
//!
//! A dropped sandbox whose containers' ends may not be recorded yet keeps `exits/` alone; the last [`SandboxFolder::forget_exit`]
//! or a second drop removes it. Everything here is quiet when done twice.

use crate::error::{Error, Result};
use orlop_model::container_state::{Ended, Exit};
use orlop_model::{ContainerId, SandboxId, Timestamp};
use orlop_wire::exit::{ExitRecord, ExitStatus, RECORD_BYTES};
use orlop_wire::frame::{EXITS_DIR, SHIM_SOCKET, SPAWNER_SOCKET};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tracing::warn;

/// The run folder.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    run: PathBuf,
}

/// The folder of one sandbox.
#[derive(Clone, Debug)]
pub(crate) struct SandboxFolder {
    path: PathBuf,
}

/// What must be known of a sandbox to take it away without its shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leavings {
    /// Version of this file.
    v: u32,
    /// Its cgroup, below the root of every hierarchy.
    pub(crate) cgroup: String,
}

const LEAVINGS_VERSION: u32 = 1;
const LEAVINGS: &str = "sandbox.json";
/// Bytes of `sandbox.json`: a cgroup's path has at most 3000.
const LEAVINGS_BYTES_MAX: u64 = 16 * 1024;

// === impl Folders ===

impl Folders {
    pub(crate) fn new(run: PathBuf) -> Self {
        Self { run }
    }

    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    pub(crate) fn spawner_socket(&self) -> PathBuf {
        self.run.join(SPAWNER_SOCKET)
    }

    pub(crate) fn sandbox(&self, id: &SandboxId) -> SandboxFolder {
        SandboxFolder { path: self.run.join("sandboxes").join(id.as_str()) }
    }

    /// Makes the run folder.
    pub(crate) fn make(&self) -> Result<()> {
        make_folder(&self.run)
    }

    /// Removes what is empty, after the last sandbox.
    pub(crate) fn end(&self) -> Result<()> {
        let path = self.run.join("sandboxes");
        match std::fs::remove_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", path.display()), error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Lists every sandbox that has a folder.
    pub(crate) fn sandboxes(&self) -> Result<Vec<SandboxId>> {
        let path = self.run.join("sandboxes");
        let names = match names(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names.map_err(|error| Error::io(format!("list {}", path.display()), error))?,
        };
        let mut found = Vec::new();
        for name in names {
            match SandboxId::parse(&name) {
                Ok(id) => found.push(id),
                Err(error) => warn!(name, %error, "not the folder of a sandbox"),
            }
        }
        found.sort();
        Ok(found)
    }
}

// === impl SandboxFolder ===

impl SandboxFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shim_socket(&self) -> PathBuf {
        self.path.join(SHIM_SOCKET)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the folder and writes down what it takes to take the sandbox away.
    pub(crate) fn make(&self, cgroup: &str) -> Result<()> {
        make_folder(&self.path.join(EXITS_DIR))?;
        let leavings = Leavings { v: LEAVINGS_VERSION, cgroup: cgroup.to_owned() };
        let text = serde_json::to_vec(&leavings).expect("two plain fields can be encoded");
        self.write(LEAVINGS, &text)
    }

    /// Writes a file of the folder: whole, or not at all.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let (path, beside) = (self.file(name), self.file(&format!(".{name}.new")));
        let write = || {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
            file.write_all(content)?;
            fs::rename(&beside, &path)
        };
        write().map_err(|error| Error::io(format!("write {}", path.display()), error))
    }

    /// Reads what is known of the sandbox; `None` when all of it is gone.
    pub(crate) fn leavings(&self) -> Result<Option<Leavings>> {
        let path = self.file(LEAVINGS);
        let bytes = match read_bounded(&path, LEAVINGS_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| Error::io(format!("read {}", path.display()), error))?,
        };
        let bad = |why: String| Error::Corrupt(format!("{} can't be read: {why}", path.display()));
        let leavings: Leavings = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        match leavings.v {
            LEAVINGS_VERSION => Ok(Some(leavings)),
            other => Err(bad(format!("it has version {other}"))),
        }
    }

    /// Reads every end that the shim wrote down. A damaged record is reported and passed over.
    pub(crate) fn exits(&self) -> Result<Vec<(ContainerId, Ended)>> {
        let path = self.path.join(EXITS_DIR);
        let names = match names(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(|error| Error::io(format!("list {}", path.display()), error))?,
        };
        let mut found = Vec::new();
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            match read_exit(&path.join(name), name) {
                Ok(exit) => found.push(exit),
                Err(error) => warn!(file = %path.join(name).display(), %error, "an exit record can't be read"),
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    /// Deletes the end of a container; with the last one of a dropped sandbox its folder goes.
    pub(crate) fn forget_exit(&self, container: &ContainerId) -> Result<()> {
        let path = self.path.join(EXITS_DIR).join(container.as_str());
        quiet(fs::remove_file(&path)).map_err(|error| Error::io(format!("delete {}", path.display()), error))?;
        if self.leavings()?.is_none() && self.exits()?.is_empty() { self.remove() } else { Ok(()) }
    }

    /// Says that shim, namespaces and cgroup are gone. Ends are kept once, until they are forgotten or this is called again.
    pub(crate) fn dropped(&self) -> Result<()> {
        if self.leavings()?.is_none() || self.exits()?.is_empty() {
            return self.remove();
        }
        for name in [SHIM_SOCKET, "resolv.conf", "hosts", "hostname", LEAVINGS] {
            let path = self.file(name);
            quiet(fs::remove_file(&path)).map_err(|error| Error::io(format!("delete {}", path.display()), error))?;
        }
        Ok(())
    }

    /// Removes the folder. Its first file to go is the last to be needed, so that a crash in between is a second drop.
    fn remove(&self) -> Result<()> {
        let failed = |error| Error::io(format!("remove {}", self.path.display()), error);
        quiet(fs::remove_file(self.file(LEAVINGS))).map_err(failed)?;
        quiet(fs::remove_dir_all(&self.path)).map_err(failed)
    }
}

fn read_exit(path: &Path, name: &str) -> Result<(ContainerId, Ended)> {
    let corrupt = |error: &dyn std::error::Error| Error::Corrupt(error.to_string());
    let id = ContainerId::parse(name).map_err(|error| corrupt(&error))?;
    let bytes = read_bounded(path, RECORD_BYTES as u64 + 1).map_err(|error| Error::io("read it", error))?;
    let record = ExitRecord::from_file(&bytes).map_err(|error| corrupt(&error))?;
    Ok((id, ended(&record)))
}

/// Turns what a shim wrote into what the core knows.
pub(crate) fn ended(record: &ExitRecord) -> Ended {
    let exit = match record.status {
        ExitStatus::Code(code) => Exit::Code { code, oom: record.oom },
        ExitStatus::Signal(signal) => Exit::Signal { signal, oom: record.oom },
    };
    Ended { started: Some(Timestamp(record.started_ns)), finished: Timestamp(record.finished_ns), exit }
}

fn make_folder(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Error::io(format!("make {}", path.display()), error))
}

fn names(path: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Reads a file of at most `bytes_max`.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

fn quiet(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn sandbox() -> (tempfile::TempDir, Folders, SandboxFolder) {
        let run = tempfile::tempdir().unwrap();
        let folders = Folders::new(run.path().join("run"));
        let folder = folders.sandbox(&SandboxId::parse("abc").unwrap());
        folder.make("/x/orlop-abc").unwrap();
        (run, folders, folder)
    }

    fn write_exit(folder: &SandboxFolder, name: &str, code: u8) {
        let record = ExitRecord { started_ns: 1, finished_ns: 2, status: ExitStatus::Code(code), oom: false };
        fs::write(folder.path().join(EXITS_DIR).join(name), record.to_file()).unwrap();
    }

    #[test]
    fn folder_is_private_and_says_where_the_cgroup_is() {
        let (_run, folders, folder) = sandbox();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
        folder.make("/x/orlop-abc").unwrap();
        assert_eq!(folder.leavings().unwrap().unwrap().cgroup, "/x/orlop-abc");
        assert_eq!(folders.sandboxes().unwrap().len(), 1);
    }

    #[test]
    fn ends_stay_until_they_are_forgotten() {
        let (_run, folders, folder) = sandbox();
        write_exit(&folder, "one", 7);
        write_exit(&folder, ".two.new", 8);
        fs::write(folder.path().join(EXITS_DIR).join("torn"), b"orlX").unwrap();
        let exits = folder.exits().unwrap();
        assert_eq!((exits.len(), &exits[0].1.exit), (1, &Exit::Code { code: 7, oom: false }));
        folder.dropped().unwrap();
        assert!(folder.leavings().unwrap().is_none());
        assert_eq!(folder.exits().unwrap(), exits);
        folder.forget_exit(&exits[0].0).unwrap();
        folder.forget_exit(&exits[0].0).unwrap();
        assert!(folders.sandboxes().unwrap().is_empty());
    }

    #[test]
    fn sandbox_without_ends_is_gone_at_once_and_one_with_ends_at_the_second_drop() {
        let (_run, folders, folder) = sandbox();
        folder.dropped().unwrap();
        folder.dropped().unwrap();
        assert!(folders.sandboxes().unwrap().is_empty());
        folder.make("/x/orlop-abc").unwrap();
        write_exit(&folder, "one", 7);
        folder.dropped().unwrap();
        assert_eq!(folders.sandboxes().unwrap().len(), 1);
        folder.dropped().unwrap();
        assert!(folders.sandboxes().unwrap().is_empty());
    }

    #[test]
    fn damaged_leavings_are_an_error_that_names_the_file() {
        let (_run, _folders, folder) = sandbox();
        for bad in [&b"{"[..], b"{\"v\":9,\"cgroup\":\"/x\"}", &vec![b' '; 20_000]] {
            fs::write(folder.file(LEAVINGS), bad).unwrap();
            assert!(folder.leavings().unwrap_err().to_string().contains(LEAVINGS));
        }
    }
}
