//! The mounts of a container.

use crate::{Inputs, SpecError, confine};
use orlop_model::container::{
    Mount as Asked, MountAccess, MountDepth, MountFlags, NamespaceMode, Propagation, RootfsAccess, Tmpfs, TmpfsAccess,
};
use orlop_model::sandbox::{IdMapping, NamespaceScope};
use orlop_plan::compile::{MAP_IF_POSSIBLE, SANDBOX_SHM, shm_of_other};
use orlop_plan::oci::{self, Mount};
use orlop_plan::path::clean;
use std::path::Path;

/// Files of the sandbox that its containers see.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTNAME: &str = "/etc/hostname";
const HOSTS: &str = "/etc/hosts";

/// Returns the mounts: the defaults that the container does not replace, its own and the sandbox's files, those nearer to
/// the root first, so that none hides another.
pub(crate) fn mounts(inputs: &Inputs<'_>) -> Result<Vec<Mount>, SpecError> {
    let mut asked = inputs.container.mounts.iter().map(|mount| bind(mount, inputs)).collect::<Result<Vec<_>, _>>()?;
    for asked_for in &inputs.container.tmpfs {
        asked.push(tmpfs(asked_for)?);
    }
    let replaced = |target: &str| asked.iter().any(|mount| mount.destination == target);
    let mut all = defaults(inputs);
    all.retain(|mount| {
        // In a /sys of its own, often the node's, nothing is made or mounted.
        let below = mount.destination.starts_with("/sys/") && (replaced("/sys") || replaced("/sys/fs"));
        !replaced(&mount.destination) && !below
    });
    let mut own = files(inputs)?;
    if inputs.sandbox.user_namespace.is_some() {
        own.extend(devices(inputs)?);
    }
    own.retain(|mount| !replaced(&mount.destination));
    all.extend(own);
    all.extend(asked);
    all.sort_by_key(|mount| mount.destination.matches('/').count());
    Ok(all)
}

/// Devices as mounts, for users who can't make nodes.
fn devices(inputs: &Inputs<'_>) -> Result<Vec<Mount>, SpecError> {
    let sources = confine::device_sources(inputs);
    let bind = |(target, source): &(String, &Path)| {
        let source = text(source, target)?;
        Ok(mount(target, "bind", source, &["bind", "rprivate", "nosuid", "noexec"]))
    };
    sources.iter().map(bind).collect()
}

fn defaults(inputs: &Inputs<'_>) -> Vec<Mount> {
    let access = if inputs.container.security.privileged { "rw" } else { "ro" };
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if inputs.sandbox.user_namespace.is_none_or(|users| users.to_node(TTY_GROUP).is_some()) {
        terminals.push("gid=5");
    }
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &terminals),
        shm(inputs),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ]
}

/// The group `tty`, the same in every distribution.
const TTY_GROUP: u32 = 5;

/// `/dev/shm` goes with the IPC namespace: who shares one shares the other.
fn shm(inputs: &Inputs<'_>) -> Mount {
    let bound = |source: &str| mount("/dev/shm", "bind", source, &["rbind", "rprivate", "nosuid", "nodev", "noexec"]);
    let bytes_max = inputs.sandbox.shm_bytes_max.unwrap_or(SHM_BYTES_MAX);
    let own = || {
        let size = format!("size={bytes_max}");
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size])
    };
    match (&inputs.container.namespaces.ipc, inputs.sandbox.ipc) {
        (NamespaceMode::Host, _) | (NamespaceMode::OfSandbox, NamespaceScope::Host) => bound("/dev/shm"),
        (NamespaceMode::OfSandbox, NamespaceScope::Sandbox) => bound(SANDBOX_SHM),
        (NamespaceMode::OfOther { sandbox, .. }, _) => bound(&shm_of_other(sandbox.as_str())),
        (NamespaceMode::New | NamespaceMode::OfContainer(_) | NamespaceMode::Path(_), _) => own(),
    }
}

/// The sandbox's files, read-only where the root is: a container must not change them for the others then.
fn files(inputs: &Inputs<'_>) -> Result<Vec<Mount>, SpecError> {
    let access = match inputs.container.rootfs {
        RootfsAccess::ReadWrite => "rw",
        RootfsAccess::ReadOnly => "ro",
    };
    let files =
        [(RESOLV_CONF, &inputs.files.resolv_conf), (HOSTNAME, &inputs.files.hostname), (HOSTS, &inputs.files.hosts)];
    let mut found = Vec::new();
    for (target, source) in files {
        if let Some(source) = source {
            let options = ["rbind", "rprivate", access, MAP_IF_POSSIBLE];
            let options = if inputs.sandbox.user_namespace.is_some() { &options[..] } else { &options[..3] };
            found.push(mount(target, "bind", text(source, target)?, options));
        }
    }
    Ok(found)
}

/// Bytes of a `/dev/shm` that nobody says the size of; everywhere the same.
pub const SHM_BYTES_MAX: u64 = 64 << 20;

/// Permission bits that a folder can have.
const MODE_MAX: u32 = 0o7777;

fn tmpfs(asked: &Tmpfs) -> Result<Mount, SpecError> {
    let shown = asked.target.display().to_string();
    let target = text(&asked.target, &shown)?;
    let refuse = |why: String| Err(SpecError::invalid(format!("tmpfs {shown}"), why));
    if !target.starts_with('/') {
        return refuse("its path inside is not absolute".to_owned());
    }
    let mut options = vec!["rprivate".to_owned()];
    options.extend(forbidden(asked.flags).map(str::to_owned));
    options.extend(asked.bytes_max.map(|bytes| format!("size={bytes}")));
    match asked.mode {
        Some(mode) if mode > MODE_MAX => return refuse(format!("its mode {mode:o} has more than permission bits")),
        Some(mode) => options.push(format!("mode={mode:o}")),
        None => {}
    }
    if let Some((uid, gid)) = asked.owner {
        options.extend([format!("uid={uid}"), format!("gid={gid}")]);
    }
    options.push(match asked.access {
        TmpfsAccess::ReadWrite => "rw".to_owned(),
        TmpfsAccess::ReadOnly => "ro".to_owned(),
    });
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    Ok(mount(&clean(target), "tmpfs", "tmpfs", &options))
}

/// Returns flags as mount(8) writes them.
fn forbidden(flags: MountFlags) -> impl Iterator<Item = &'static str> {
    let all = [("nosuid", flags.nosuid), ("nodev", flags.nodev), ("noexec", flags.noexec)];
    all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name)
}

fn bind(asked: &Asked, inputs: &Inputs<'_>) -> Result<Mount, SpecError> {
    let shown = asked.target.display().to_string();
    let target = text(&asked.target, &shown)?;
    let source = text(&asked.source, &shown)?;
    let field = || format!("mount {shown}");
    if target.is_empty() {
        return Err(SpecError::invalid(field(), "its path inside is empty"));
    }
    if !source.starts_with('/') {
        return Err(SpecError::invalid(field(), format!("its source {source:?} is not an absolute path")));
    }
    let access = match asked.access {
        MountAccess::ReadWrite => "rw",
        MountAccess::ReadOnly => "ro",
        MountAccess::ReadOnlyRecursive => {
            let refuse = |why| Err(SpecError::RecursiveReadOnly { target: shown.clone(), why });
            match (asked.propagation, inputs.host.recursive_readonly) {
                (Propagation::HostToContainer | Propagation::Bidirectional, _) => {
                    return refuse("must have private propagation, since later mounts would be writable");
                }
                (Propagation::Private, false) => return refuse("needs Linux 5.12"),
                (Propagation::Private, true) => "rro",
            }
        }
    };
    let propagation = match asked.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    let depth = match asked.depth {
        MountDepth::Whole => "rbind",
        MountDepth::Single => "bind",
    };
    let mut options = vec![depth, propagation, access];
    options.extend(forbidden(asked.flags));
    let mapped = |users: IdMapping| oci::IdMapping { inside: users.inside, node: users.node, count: users.count };
    let ids: Vec<_> = asked.ids.map(mapped).into_iter().collect();
    let bound = mount(&clean(target), "bind", source, &options);
    Ok(Mount { uid_mappings: ids.clone(), gid_mappings: ids, ..bound })
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

fn text<'a>(path: &'a Path, target: &str) -> Result<&'a str, SpecError> {
    let plain = path.to_str().filter(|text| !text.contains('\0'));
    plain.ok_or_else(|| SpecError::invalid(format!("mount {target}"), "a path of it is not UTF-8 or holds NUL"))
}
