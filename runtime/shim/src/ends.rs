//! Exit records on disk: `<dir>/exits/<container>`.
//!
//! Written before an end is reported, so that a daemon that was away, or a shim that dies next, loses none.

use crate::error::{Result, Tried};
use orlop_wire::exit::ExitRecord;
use orlop_wire::frame::EXITS_DIR;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The folder of exit records, held open.
#[derive(Debug)]
pub(crate) struct Ends(OwnedFd);

impl Ends {
    /// Opens the folder, and makes it when missing.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(EXITS_DIR);
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
        builder.create(&path).tried("make the folder of exit records")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(&path, flags, Mode::empty()).tried("open the folder of exit records")?))
    }

    /// Writes a record, whole or not at all. Not flushed: it matters only as long as the node is up.
    pub(crate) fn write(&self, container: &str, record: &ExitRecord) -> Result<()> {
        let tried = "write an exit record";
        let new = format!(".{container}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.0, &new, flags, Mode::RUSR | Mode::WUSR).tried(tried)?;
        File::from(file).write_all(&record.to_file()).tried(tried)?;
        rustix::fs::renameat(&self.0, &new, &self.0, container).tried(tried)
    }

    /// Deletes a record. Quiet when it is not there.
    pub(crate) fn forget(&self, container: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.0, container, rustix::fs::AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            other => other.tried("delete an exit record"),
        }
    }
}
