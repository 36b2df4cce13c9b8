//! Cgroups as this adapter uses them: the root, `shims` below it, and sandboxes taken away without their shim.

use crate::error::{Error, Result};
use orlop_cgroups::{CgroupPath, Hierarchies, Leaf};
use orlop_model::{ContainerId, SandboxId};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

/// The cgroups of this daemon.
#[derive(Debug)]
pub(crate) struct Cgroups {
    hierarchies: Hierarchies,
    root: CgroupPath,
    /// A file that is there when the root was made by us, and goes with it.
    made: PathBuf,
}

/// What the name of a sandbox's cgroup starts with.
const PREFIX: &str = "orlop-";

// === impl Cgroups ===

impl Cgroups {
    pub(crate) fn new(root: &str, made: PathBuf) -> Result<Self> {
        let hierarchies = Hierarchies::detect().map_err(|error| failed("find the cgroup hierarchies", &error))?;
        Ok(Self { hierarchies, root: parse(root)?, made })
    }

    /// Returns the node's cgroup file systems.
    pub(crate) fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// Returns the cgroup of a sandbox.
    pub(crate) fn of_sandbox(&self, parent: Option<&str>, id: &SandboxId) -> Result<String> {
        let parent = match parent {
            None | Some("") => self.root.as_str().to_owned(),
            Some(parent) => parse(parent)?.as_str().to_owned(),
        };
        Ok(format!("{parent}/{PREFIX}{id}"))
    }

    /// Lists sandboxes that have a cgroup where they have it by default, in any hierarchy.
    pub(crate) fn sandboxes(&self) -> Result<BTreeSet<SandboxId>> {
        let mut found = BTreeSet::new();
        for hierarchy in self.hierarchies.v1.iter().chain(&self.hierarchies.unified) {
            let path = hierarchy.mount.join(self.root.as_str().trim_start_matches('/'));
            let entries = match std::fs::read_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.map_err(|error| Error::io(format!("list {}", path.display()), error))?,
            };
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            found.extend(names.filter_map(|name| SandboxId::parse(name.strip_prefix(PREFIX)?).ok()));
        }
        Ok(found)
    }

    /// Moves a process into the cgroup of shims, which is made. Quiet when it is there.
    pub(crate) fn settle(&self, pid: u32) -> Result<()> {
        let tried = "make the cgroup of shims";
        if self.open(&self.root)?.is_none() {
            std::fs::write(&self.made, self.root.as_str()).map_err(|error| Error::io(tried, error))?;
        }
        let shims = self.shims()?;
        let leaf = Leaf::create(&self.hierarchies, &shims).map_err(|error| failed(tried, &error))?;
        if leaf.procs().map_err(|error| failed(tried, &error))?.contains(&pid) {
            return Ok(());
        }
        for entry in leaf.entry_fds().map_err(|error| failed(tried, &error))? {
            let moved = std::fs::File::from(entry).write_all(pid.to_string().as_bytes());
            moved.map_err(|error| Error::io(format!("move process {pid} into cgroup {shims}"), error))?;
        }
        Ok(())
    }

    /// Kills what is in a cgroup and removes it. Quiet when it is not there.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        let tried = format!("remove cgroup {path}");
        orlop_cgroups::remove_tree(&self.hierarchies, &parse(path)?).map_err(|error| failed(&tried, &error))
    }

    /// Opens the cgroup of a sandbox; `None` when it is not there.
    pub(crate) fn sandbox(&self, sandbox: &str) -> Result<Option<Leaf>> {
        self.open(&parse(sandbox)?)
    }

    /// Opens the cgroup of a container; `None` when it is not there.
    pub(crate) fn container(&self, sandbox: &str, id: &ContainerId) -> Result<Option<Leaf>> {
        self.open(&parse(&format!("{sandbox}/{id}"))?)
    }

    /// Says whether a container is frozen. One that has no cgroup is not.
    pub(crate) fn is_frozen(&self, sandbox: &str, id: &ContainerId) -> Result<bool> {
        let leaf = self.container(sandbox, id)?;
        let frozen = leaf.map(|leaf| leaf.is_frozen()).transpose();
        Ok(frozen.map_err(|error| failed("look whether the container is frozen", &error))?.unwrap_or(false))
    }

    /// Kills what is in the cgroup of a container. Quiet when it is not there.
    pub(crate) fn kill_container(&self, sandbox: &str, id: &ContainerId) -> Result<()> {
        match self.container(sandbox, id)? {
            Some(leaf) => leaf.kill().map_err(|error| failed("kill the container", &error)),
            None => Ok(()),
        }
    }

    /// Removes the cgroup of a container, and what is in it.
    pub(crate) fn remove_container(&self, sandbox: &str, id: &ContainerId) -> Result<()> {
        self.remove(&format!("{sandbox}/{id}"))
    }

    /// Removes what was made for the spawner: `shims`, and the root when it was ours and nobody is left in it.
    pub(crate) fn end(&self) -> Result<()> {
        self.remove(self.shims()?.as_str())?;
        if !self.made.exists() {
            return Ok(());
        }
        let tried = format!("remove cgroup {}", self.root);
        if let Some(leaf) = self.open(&self.root)? {
            // The daemon itself may run in it; whoever put it there removes it.
            if !leaf.procs().map_err(|error| failed(&tried, &error))?.is_empty() {
                return Ok(());
            }
            leaf.remove().map_err(|error| failed(&tried, &error))?;
        }
        std::fs::remove_file(&self.made).map_err(|error| Error::io(format!("delete {}", self.made.display()), error))
    }

    fn shims(&self) -> Result<CgroupPath> {
        parse(&format!("{}/shims", self.root))
    }

    fn open(&self, path: &CgroupPath) -> Result<Option<Leaf>> {
        Leaf::open(&self.hierarchies, path).map_err(|error| failed(&format!("open cgroup {path}"), &error))
    }
}

fn parse(path: &str) -> Result<CgroupPath> {
    CgroupPath::parse(path).map_err(|error| Error::Invalid(error.to_string()))
}

/// Says what was tried, and all that the cgroup's error says.
pub(crate) fn failed(tried: &str, error: &orlop_cgroups::Error) -> Error {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        message = format!("{message}: {inner}");
        source = inner.source();
    }
    Error::Refused { tried: tried.to_owned(), message, errno: error.raw_os_error().unwrap_or(0) }
}
