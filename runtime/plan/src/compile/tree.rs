//! The file system tree of a container: mounts, devices, what is hidden.

use super::order::add_slot;
use super::{CompileError, Facts, OTHER_SHM_PREFIX, SANDBOX_SHM, SlotSource, invalid, unsupported, users};
use crate::mounts::{Options, Recursive};
use crate::oci::{Device, Linux, Mount, Spec};
use crate::path::clean;
use orlop_wire::plan::{BindIds, BindSource, IdMap, Op};
use std::path::Path;

/// Devices that every container has. config-linux.md "Default Devices"; `/dev/console` comes with a terminal.
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that every container has. config-linux.md "Dev symbolic links".
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Permission bits of a device when the spec says nothing.
const DEVICE_MODE_DEFAULT: u32 = 0o666;

/// Files below `/proc` that may be mounted over: LXCFS's, and two that describe the kernel. Anything else there could fake
/// what the kernel says to programs that trust it (CVE-2019-16884).
const PROC_FILES: [&str; 12] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
    "/proc/version",
];

/// What mounts depend on.
pub(super) struct Around<'a> {
    pub(super) facts: &'a Facts<'a>,
    /// Ids of the user namespace, when it is not the node's.
    pub(super) users: Option<IdMap>,
}

/// Mounts in the spec's order, then devices and links.
pub(super) fn ops(
    spec: &Spec,
    linux: &Linux,
    around: &Around<'_>,
    slots: &mut Vec<SlotSource>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Op>, CompileError> {
    let mut ops = Vec::new();
    for mount in &spec.mounts {
        mount_ops(mount, linux, around, &mut Out { ops: &mut ops, slots, warnings })?;
    }
    if has_own_dev(spec) {
        ops.extend(match around.users {
            None => device_ops(linux)?,
            // There, nobody can make one.
            Some(_) => bound_devices(spec, linux)?,
        });
        ops.extend(LINKS.map(|(target, to)| Op::Symlink { to: to.to_owned(), target: target.to_owned() }));
    }
    Ok(ops)
}

/// Says whether `/dev` is the container's own. A bound one is somebody's, often the node's: nothing is made in it.
pub(super) fn has_own_dev(spec: &Spec) -> bool {
    !is_bound_at(spec, "/dev")
}

/// Says whether `/dev` is a file system of the container's own, which can be written where its root can't.
pub(super) fn has_mounted_dev(spec: &Spec) -> bool {
    has_own_dev(spec) && spec.mounts.iter().any(|mount| clean(&mount.destination) == "/dev")
}

/// Says whether a path is where a bind mount of the spec is.
pub(super) fn is_bound_at(spec: &Spec, path: &str) -> bool {
    let path = clean(path);
    spec.mounts.iter().any(|mount| is_bind(mount) && clean(&mount.destination) == path)
}

fn is_bind(mount: &Mount) -> bool {
    mount.kind.as_deref() == Some("bind") || Options::parse(&mount.options).bind.is_some()
}

/// What comes of mounts.
struct Out<'a> {
    ops: &'a mut Vec<Op>,
    slots: &'a mut Vec<SlotSource>,
    warnings: &'a mut Vec<String>,
}

fn mount_ops(mount: &Mount, linux: &Linux, around: &Around<'_>, out: &mut Out<'_>) -> Result<(), CompileError> {
    let options = Options::parse(&mount.options);
    if let Some(option) = options.unsupported.first() {
        return Err(unsupported(field(mount), format!("the mount option {option} is not built yet")));
    }
    check_target(mount)?;
    let target = clean(&mount.destination);
    match mount.kind.as_deref() {
        _ if is_bind(mount) => {
            if let Some((name, _)) = options.data.first() {
                out.warnings.push(format!("{}: the option {name} means nothing to a bind mount", field(mount)));
            }
            let bind = bind(mount, &options, target, around.users, out.slots)?;
            out.ops.push(bind);
        }
        Some("cgroup" | "cgroup2") => cgroup_ops(&options, &target, linux, around.facts, out.ops)?,
        Some(kind) if !kind.is_empty() => out.ops.push(Op::MountNew {
            fstype: kind.to_owned(),
            source: mount.source.clone().unwrap_or_else(|| kind.to_owned()),
            options: options.data,
            attributes: options.attributes,
            target,
        }),
        Some(_) | None => return Err(invalid(field(mount), "it has neither a type nor the option bind")),
    }
    Ok(())
}

fn field(mount: &Mount) -> String {
    format!("mounts[{}]", mount.destination.chars().take(200).collect::<String>())
}

/// Refuses to mount over the root, and over or in `/proc` unless it is a whole `/proc` or a file known to be harmless.
fn check_target(mount: &Mount) -> Result<(), CompileError> {
    let at = mount.destination.as_str();
    if at.is_empty() || at.contains('\0') {
        return Err(invalid(field(mount), "the destination must be a path"));
    }
    match clean(at).as_str() {
        "/" => Err(invalid(field(mount), "the root itself can't be mounted over")),
        "/proc" => {
            let bound_whole = is_bind(mount) && mount.source.as_deref().map(clean).as_deref() == Some("/proc");
            let whole = mount.kind.as_deref() == Some("proc") && !is_bind(mount);
            if whole || bound_whole {
                Ok(())
            } else {
                Err(invalid(field(mount), "only a whole proc can be mounted at /proc"))
            }
        }
        below if below.starts_with("/proc/") && !PROC_FILES.contains(&below) => {
            Err(invalid(field(mount), "nothing can be mounted inside /proc"))
        }
        _ => Ok(()),
    }
}

fn bind(
    mount: &Mount,
    options: &Options,
    target: String,
    users: Option<IdMap>,
    slots: &mut Vec<SlotSource>,
) -> Result<Op, CompileError> {
    let source = match mount.source.as_deref() {
        Some(SANDBOX_SHM) => BindSource::SandboxShm,
        Some(source) if source.starts_with(OTHER_SHM_PREFIX) => {
            let sandbox = source[OTHER_SHM_PREFIX.len()..].to_owned();
            BindSource::Slot(add_slot(slots, SlotSource::ShmOfOther { sandbox })?)
        }
        Some(path) if path.starts_with('/') && !path.contains('\0') => BindSource::Path(path.to_owned()),
        other => return Err(invalid(field(mount), format!("the source {other:?} is not an absolute path"))),
    };
    Ok(Op::Bind {
        source,
        recursive: options.bind.is_none_or(|recursive| recursive == Recursive::Yes),
        attributes: options.attributes,
        attributes_recursive: options.attributes_recursive,
        propagation: if options.propagation == 0 { libc::MS_PRIVATE } else { options.propagation },
        ids: users::of_bind(mount, options, users)?,
        target,
    })
}

/// Shows the container its own cgroup, by binding the leaf of each hierarchy.
///
/// Not by mounting cgroup file systems: those show the root of the mounter's cgroup namespace, which depends on when it
/// was made, and v1 ones are one superblock for the whole node.
fn cgroup_ops(
    options: &Options,
    target: &str,
    linux: &Linux,
    facts: &Facts<'_>,
    ops: &mut Vec<Op>,
) -> Result<(), CompileError> {
    let Some(path) = &linux.cgroups_path else {
        return Err(invalid("linux.cgroupsPath", "a cgroup mount needs a cgroup of the container's own"));
    };
    let leaf = |mount: &Path| format!("{}{path}", mount.display());
    let bind = |source: String, target: String| Op::Bind {
        source: BindSource::Path(source),
        recursive: false,
        attributes: options.attributes,
        attributes_recursive: false,
        propagation: libc::MS_PRIVATE,
        // Cgroups stay the node's: a container may look at its own and change nothing of it.
        ids: BindIds::AsOnNode,
        target,
    };
    let hierarchies = facts.hierarchies;
    if hierarchies.v1.is_empty() {
        ops.extend(hierarchies.unified.iter().map(|unified| bind(leaf(&unified.mount), target.to_owned())));
        return Ok(());
    }
    ops.push(Op::MountNew {
        fstype: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options: vec![("mode".to_owned(), Some("755".to_owned())), ("size".to_owned(), Some("64k".to_owned()))],
        attributes: options.attributes & !libc::MOUNT_ATTR_RDONLY,
        target: target.to_owned(),
    });
    for hierarchy in &hierarchies.v1 {
        let name = hierarchy.controllers.join(",");
        ops.push(bind(leaf(&hierarchy.mount), format!("{target}/{name}")));
        if let [_, _, ..] = hierarchy.controllers.as_slice() {
            let link = |one: &String| Op::Symlink { to: name.clone(), target: format!("{target}/{one}") };
            ops.extend(hierarchy.controllers.iter().map(link));
        }
    }
    ops.extend(hierarchies.unified.iter().map(|unified| bind(leaf(&unified.mount), format!("{target}/unified"))));
    Ok(())
}

fn device_ops(linux: &Linux) -> Result<Vec<Op>, CompileError> {
    let asked: Vec<String> = linux.devices.iter().map(|device| clean(&device.path)).collect();
    let default = |(path, major, minor): &(&str, u32, u32)| Op::MakeDevice {
        target: (*path).to_owned(),
        mode: libc::S_IFCHR | DEVICE_MODE_DEFAULT,
        major: *major,
        minor: *minor,
        uid: 0,
        gid: 0,
    };
    let defaults = DEVICES.iter().filter(|(path, ..)| !asked.iter().any(|asked| asked == path));
    let mut ops: Vec<Op> = defaults.map(default).collect();
    for device in &linux.devices {
        ops.push(make_device(device)?);
    }
    Ok(ops)
}

/// Binds the node's devices, those of the same path where the spec says no more. In a user namespace no node can be made.
fn bound_devices(spec: &Spec, linux: &Linux) -> Result<Vec<Op>, CompileError> {
    let mut paths: Vec<String> = DEVICES.map(|(path, ..)| path.to_owned()).to_vec();
    for device in &linux.devices {
        make_device(device)?;
        paths.push(clean(&device.path));
    }
    paths.retain(|path| !is_bound_at(spec, path));
    paths.sort_unstable();
    paths.dedup();
    let bind = |path: String| Op::Bind {
        source: BindSource::Path(path.clone()),
        recursive: false,
        attributes: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        attributes_recursive: false,
        propagation: libc::MS_PRIVATE,
        ids: BindIds::AsOnNode,
        target: path,
    };
    Ok(paths.into_iter().map(bind).collect())
}

fn make_device(device: &Device) -> Result<Op, CompileError> {
    let field = || format!("linux.devices[{}]", device.path.chars().take(200).collect::<String>());
    if !device.path.starts_with('/') || device.path.contains('\0') {
        return Err(invalid(field(), "the path is not absolute"));
    }
    let kind = match device.kind.as_str() {
        "c" | "u" => libc::S_IFCHR,
        "b" => libc::S_IFBLK,
        "p" => libc::S_IFIFO,
        other => return Err(invalid(field(), format!("{other:?} is no kind of device"))),
    };
    let number =
        |number: i64| u32::try_from(number).map_err(|_| invalid(field(), format!("{number} is no device number")));
    Ok(Op::MakeDevice {
        target: clean(&device.path),
        mode: kind | (device.file_mode.unwrap_or(DEVICE_MODE_DEFAULT) & 0o7777),
        major: number(device.major)?,
        minor: number(device.minor)?,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

/// What is hidden and what can't be written, once the tree stands.
pub(super) fn covers(spec: &Spec, linux: &Linux, facts: &Facts<'_>) -> Result<Vec<Op>, CompileError> {
    let absolute = |field: &'static str, path: &String| {
        if path.starts_with('/') && !path.contains('\0') {
            Ok(path.clone())
        } else {
            Err(invalid(field, format!("{path:?} is not an absolute path")))
        }
    };
    let mut ops = Vec::new();
    for path in &linux.masked_paths {
        ops.push(Op::Mask { target: absolute("linux.maskedPaths", path)? });
    }
    for path in &linux.readonly_paths {
        ops.push(Op::ReadonlyPath { target: absolute("linux.readonlyPaths", path)? });
    }
    // The tmpfs that holds the v1 hierarchies could be written only so long as their folders were made.
    let of_cgroups = |mount: &&Mount| matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2")) && !is_bind(mount);
    if !facts.hierarchies.v1.is_empty()
        && let Some(mount) = spec.mounts.iter().find(of_cgroups)
        && Options::parse(&mount.options).attributes & libc::MOUNT_ATTR_RDONLY != 0
    {
        ops.push(Op::ReadonlyPath { target: clean(&mount.destination) });
    }
    Ok(ops)
}
