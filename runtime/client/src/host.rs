//! What must be known of the node to make a spec: capabilities, kernel, devices, mount sources.

use crate::error::{Error, Result};
use orlop_cgroups::Hierarchies;
use orlop_model::container::{ContainerSpec, MissingSource};
use orlop_plan::rlimit::HardLimits;
use orlop_spec::HostFacts;
use orlop_spec::inputs::{NodeDevice, NodeDeviceKind};
use rustix::fs::{FileType, StatxAttributes};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tracing::warn;

/// Facts that do not change while the daemon runs.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    hierarchies: Hierarchies,
    device_programs: bool,
    capabilities: u64,
    oom_score_adj: i16,
    recursive_readonly: bool,
    limits: HardLimits,
}

/// Devices of a node that a privileged container sees; one with more has a `/dev` gone wild.
const DEVICES_MAX: usize = 4096;
/// Folders below `/dev` that are followed: `/dev/bus/usb/001` is the deepest known.
const DEPTH_MAX: usize = 8;
/// Folders of `/dev` that a container has of its own.
const OWN_FOLDERS: [&str; 4] = ["pts", "shm", "mqueue", "fd"];
/// Devices of `/dev` that a container has of its own.
const OWN_DEVICES: [&str; 2] = ["console", "ptmx"];

// === impl Node ===

impl Node {
    /// Looks at the node. The shim inherits what this process has.
    pub(crate) fn look(hierarchies: Hierarchies) -> Result<Self> {
        let status = read("/proc/self/status")?;
        let capabilities =
            status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
        let missing = |what: &str| Error::Missing(format!("{what} can't be read; is /proc mounted?"));
        let device_programs = orlop_cgroups::devices::can_be_enforced();
        if let Err(error) = &device_programs
            && !hierarchies.layout().v1.contains("devices")
        {
            warn!(%error, "device rules can't be enforced: this kernel takes no device programs (CONFIG_CGROUP_BPF) and has no devices cgroup; containers get no CAP_MKNOD and no devices of their images");
        }
        Ok(Self {
            hierarchies,
            device_programs: device_programs.is_ok(),
            capabilities: capabilities.ok_or_else(|| missing("CapEff in /proc/self/status"))?,
            oom_score_adj: read("/proc/self/oom_score_adj")?
                .trim()
                .parse()
                .map_err(|_| missing("/proc/self/oom_score_adj"))?,
            limits: hard_limits()?,
            recursive_readonly: at_least(&rustix::system::uname().release().to_string_lossy(), (5, 12)),
        })
    }

    /// Returns the capabilities that a shim holds.
    pub(crate) fn capabilities(&self) -> u64 {
        self.capabilities
    }

    /// Returns the hard limits that a shim has.
    pub(crate) fn limits(&self) -> &HardLimits {
        &self.limits
    }

    /// Says whether device rules can be a program.
    pub(crate) fn device_programs(&self) -> bool {
        self.device_programs
    }

    /// Returns the cgroup file systems.
    pub(crate) fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// Adds the devices that one container needs to know.
    pub(crate) fn facts(&self, devices: Vec<NodeDevice>) -> HostFacts {
        HostFacts {
            capabilities: self.capabilities,
            oom_score_adj: self.oom_score_adj,
            recursive_readonly: self.recursive_readonly,
            devices,
        }
    }
}

fn hard_limits() -> Result<HardLimits> {
    let mut limits = HardLimits::NONE;
    for (limit, number) in limits.0.iter_mut().zip(0..) {
        let found = orlop_sys::child::limit(number);
        *limit = found.map_err(|error| Error::io(format!("read resource limit {number}"), error))?.1;
    }
    Ok(limits)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Error::io(format!("read {path}"), error))
}

/// Compares the leading two numbers of a kernel's release.
fn at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= wanted,
        (_, _) => false,
    }
}

// === devices and mount sources ===

/// Says whether [`devices`] has anything to look at.
pub(crate) fn has_devices(container: &ContainerSpec) -> bool {
    container.security.privileged || !container.devices.is_empty()
}

/// Finds the devices that a container asks for, and all of the node's for a privileged one. May hang: see [`crate::blocking`].
pub(crate) fn devices(container: &ContainerSpec) -> Result<Vec<NodeDevice>> {
    let mut found = Vec::new();
    if container.security.privileged {
        collect(Path::new("/dev"), 0, &mut found)?;
    }
    for device in &container.devices {
        let source = &device.source;
        let tried =
            |why: &str| Error::Invalid(format!("device {}: {} {why}", device.target.display(), source.display()));
        let metadata = match fs::metadata(source) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(tried("does not exist on the node")),
            Err(error) => return Err(Error::io(format!("look at device {}", source.display()), error)),
        };
        found.push(node_device(source.clone(), &metadata).ok_or_else(|| tried("is not a device"))?);
    }
    Ok(found)
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<NodeDevice>) -> Result<()> {
    let failed = |error| Error::io(format!("list {}", folder.display()), error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let own = |names: &[&str]| depth == 0 && names.iter().any(|own| name == *own);
        // It may go while we look; devices do.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth < DEPTH_MAX && !own(&OWN_FOLDERS) && !is_mount_point(&entry.path()) {
            collect(&entry.path(), depth + 1, found)?;
        } else if !own(&OWN_DEVICES) && found.len() < DEVICES_MAX {
            found.extend(node_device(entry.path(), &metadata));
        }
    }
    Ok(())
}

/// Somebody else's file system below `/dev` is no place to look for devices.
fn is_mount_point(path: &Path) -> bool {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW | rustix::fs::AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(rustix::fs::CWD, path, flags, rustix::fs::StatxFlags::empty()) {
        Ok(found) => found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        Err(_) => true,
    }
}

fn node_device(path: PathBuf, metadata: &Metadata) -> Option<NodeDevice> {
    let kind = match (metadata.file_type().is_char_device(), metadata.file_type().is_block_device()) {
        (true, _) => NodeDeviceKind::Char,
        (_, true) => NodeDeviceKind::Block,
        (false, false) => return None,
    };
    Some(NodeDevice {
        path,
        kind,
        major: rustix::fs::major(metadata.rdev()),
        minor: rustix::fs::minor(metadata.rdev()),
        mode: metadata.mode() & !(FileType::from_raw_mode(metadata.mode()).as_raw_mode()),
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// Says whether [`make_sources`] has anything to make.
pub(crate) fn makes_sources(container: &ContainerSpec) -> bool {
    container.mounts.iter().any(|mount| mount.missing == MissingSource::MakeFolder)
}

/// Makes folders for mounts that ask for it. May hang: see [`crate::blocking`].
pub(crate) fn make_sources(container: &ContainerSpec) -> Result<()> {
    for mount in container.mounts.iter().filter(|mount| mount.missing == MissingSource::MakeFolder) {
        let (source, target) = (&mount.source, mount.target.display());
        if !source.is_absolute() {
            return Err(Error::Invalid(format!("mount {target}: its source {source:?} is not an absolute path")));
        }
        // A file may be there, which is mounted as it is.
        match fs::metadata(source) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o755).create(source).map_err(|error| {
                    Error::io(format!("make {}, the source of mount {target}", source.display()), error)
                })?;
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Checks that what a container mounts is there. May hang: see [`crate::blocking`].
pub(crate) fn check_sources(container: &ContainerSpec) -> Result<()> {
    for mount in &container.mounts {
        let (source, target) = (mount.source.display(), mount.target.display());
        if !mount.source.is_absolute() {
            return Err(Error::Invalid(format!("mount {target}: its source {source} is not an absolute path")));
        }
        match fs::metadata(&mount.source) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(Error::Invalid(format!("mount {target}: its source {source} does not exist on the node")));
            }
            Err(error) => return Err(Error::io(format!("look at {source}, the source of mount {target}"), error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_compared_by_number() {
        for (release, expected) in
            [("6.18.2-x", true), ("5.12.0", true), ("5.9.1", false), ("5.11", false), ("10.0-rc1", true), ("", false)]
        {
            assert_eq!(at_least(release, (5, 12)), expected, "{release}");
        }
    }

    #[test]
    fn devices_of_the_node_have_their_numbers() {
        let mut found = Vec::new();
        collect(Path::new("/dev"), 0, &mut found).unwrap();
        let null = found.iter().find(|device| device.path == Path::new("/dev/null")).unwrap();
        assert_eq!((null.kind, null.major, null.minor, null.mode), (NodeDeviceKind::Char, 1, 3, 0o666));
        assert!(!found.iter().any(|device| device.path.starts_with("/dev/pts")));
    }
}
