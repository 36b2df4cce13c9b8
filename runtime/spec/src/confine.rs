//! What a container may do: capabilities, hidden paths, filter, devices.

use crate::inputs::{NodeDevice, NodeDeviceKind};
use crate::{Inputs, SpecError};
use orlop_model::container::{DeviceKind, DeviceRule, MASKED_PATHS, READONLY_PATHS, SeccompProfile, Security};
use orlop_plan::oci::{Capabilities, Device, DeviceCgroup, LinuxSeccomp};
use orlop_plan::{capability, path, seccomp};

/// What a container that asks for nothing keeps: the usual fourteen.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Devices that a container may use: those it has by default, its terminals; making nodes of others is harmless, since they
/// can't be opened.
const DEVICE_RULES: [(&str, Option<i64>, Option<i64>, &str); 11] = [
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(5), Some(1), "rwm"),
    ("c", Some(5), Some(2), "rwm"),
    ("c", Some(136), None, "rwm"),
];

/// Returns the capability sets.
///
/// `ALL` first, then names one by one, added before dropped: dropping ALL and adding one leaves that one. What is not known
/// is kept by name, and warned about when the plan is made. Inheritable stays empty but for ambient ones (CVE-2022-29162).
pub(crate) fn capabilities(inputs: &Inputs<'_>) -> Capabilities {
    let security = &inputs.container.security;
    // In a user namespace the node's rights don't count: whoever is its root has every capability there.
    let held = if inputs.sandbox.user_namespace.is_some() { capability::ALL } else { inputs.host.capabilities };
    let all = capability::names(capability::ALL & held);
    let mut kept: Vec<String> = if security.privileged {
        all
    } else {
        let usual = DEFAULT.map(full_name).to_vec();
        let mut kept = if is_all(&security.capabilities_add) { all } else { usual };
        if is_all(&security.capabilities_drop) {
            kept.clear();
        }
        kept.extend(names(&security.capabilities_add));
        let dropped: Vec<String> = names(&security.capabilities_drop).collect();
        kept.retain(|name| !dropped.contains(name));
        kept
    };
    let ambient: Vec<String> = names(&security.capabilities_ambient).collect();
    kept.extend(ambient.iter().cloned());
    kept.sort_unstable();
    kept.dedup();
    Capabilities {
        bounding: kept.clone(),
        effective: kept.clone(),
        permitted: kept,
        inheritable: ambient.clone(),
        ambient,
    }
}

fn is_all(names: &[String]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL"))
}

/// Returns names with `CAP_`, without `ALL`.
fn names(names: &[String]) -> impl Iterator<Item = String> + '_ {
    names.iter().filter(|name| !is_all(std::slice::from_ref(*name))).map(|name| full_name(name))
}

fn full_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

/// Returns the paths hidden.
pub(crate) fn masked(security: &Security) -> Vec<String> {
    paths(security, &security.masked_paths, &MASKED_PATHS)
}

/// Returns the paths that can't be written.
pub(crate) fn readonly(security: &Security) -> Vec<String> {
    paths(security, &security.readonly_paths, &READONLY_PATHS)
}

fn paths(security: &Security, own: &Option<Vec<String>>, default: &[&str]) -> Vec<String> {
    match (security.privileged, own) {
        (true, _) => Vec::new(),
        (false, Some(paths)) => paths.clone(),
        (false, None) => default.iter().map(|path| (*path).to_owned()).collect(),
    }
}

/// Returns the seccomp profile; none for a privileged container, whatever it asks for.
pub(crate) fn filter(security: &Security, capabilities: &Capabilities) -> Result<Option<LinuxSeccomp>, SpecError> {
    if security.privileged {
        return Ok(None);
    }
    let (held, _unknown) = capability::mask(&capabilities.bounding);
    match &security.seccomp {
        SeccompProfile::Unconfined => Ok(None),
        SeccompProfile::RuntimeDefault => Ok(Some(seccomp::default_profile(held))),
        SeccompProfile::Custom(text) => {
            let profile = seccomp::document::parse(text.as_bytes(), held);
            profile.map(Some).map_err(|bad| SpecError::invalid("seccomp profile", bad.to_string()))
        }
    }
}

/// Devices and the rules that let them be used.
pub(crate) struct Devices {
    /// Nodes beside the defaults.
    pub(crate) nodes: Vec<Device>,
    /// None leaves a container what its parent cgroup has.
    pub(crate) rules: Vec<DeviceCgroup>,
}

/// Returns the devices that a container asks for; a privileged one has every device of the node.
pub(crate) fn devices(inputs: &Inputs<'_>) -> Result<Devices, SpecError> {
    let mut devices = Devices { nodes: Vec::new(), rules: Vec::new() };
    let privileged = inputs.container.security.privileged;
    if privileged {
        for device in &inputs.host.devices {
            if let Some(at) = device.path.to_str() {
                devices.nodes.push(node(device, at));
            }
        }
    } else {
        devices.rules.push(DeviceCgroup { allow: false, access: Some("rwm".to_owned()), ..DeviceCgroup::default() });
        let rule = |(kind, major, minor, access): (&str, Option<i64>, Option<i64>, &str)| DeviceCgroup {
            allow: true,
            kind: Some(kind.to_owned()),
            major,
            minor,
            access: Some(access.to_owned()),
        };
        devices.rules.extend(DEVICE_RULES.map(rule));
    }
    for asked in &inputs.container.devices {
        let field = format!("device {}", asked.target.display());
        let target = asked.target.to_str().filter(|target| !target.contains('\0') && !target.is_empty());
        let target = target.ok_or_else(|| SpecError::invalid(&field, "its path inside is not text"))?;
        let access = access(&field, &asked.permissions)?;
        let found = inputs.host.devices.iter().find(|device| device.path == asked.source);
        let found = found.ok_or_else(|| {
            SpecError::invalid(&field, format!("{} is not a device of the node", asked.source.display()))
        })?;
        let target = path::clean(target);
        devices.nodes.retain(|device| device.path != target);
        devices.nodes.push(node(found, &target));
        if !privileged {
            devices.rules.push(DeviceCgroup {
                allow: true,
                kind: Some(letter(found.kind).to_owned()),
                major: Some(i64::from(found.major)),
                minor: Some(i64::from(found.minor)),
                access: Some(access.to_owned()),
            });
        }
    }
    if !privileged {
        devices.rules.extend(inputs.container.device_rules.iter().map(rule).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(devices)
}

fn access<'a>(field: &str, letters: &'a str) -> Result<&'a str, SpecError> {
    if letters.is_empty() || letters.chars().any(|c| !matches!(c, 'r' | 'w' | 'm')) {
        return Err(SpecError::invalid(field, format!("{letters:?} is not some of the letters r, w and m")));
    }
    Ok(letters)
}

fn rule(asked: &DeviceRule) -> Result<DeviceCgroup, SpecError> {
    let kind = match asked.kind {
        DeviceKind::Any => "a",
        DeviceKind::Char => "c",
        DeviceKind::Block => "b",
    };
    Ok(DeviceCgroup {
        allow: true,
        kind: Some(kind.to_owned()),
        major: asked.major.map(i64::from),
        minor: asked.minor.map(i64::from),
        access: Some(access("device rule", &asked.permissions)?.to_owned()),
    })
}

/// Returns where each device that a container asks for is on the node, by its path inside, for containers that bind them.
pub(crate) fn device_sources<'a>(inputs: &'a Inputs<'_>) -> Vec<(String, &'a std::path::Path)> {
    let of_node: &[NodeDevice] = if inputs.container.security.privileged { &inputs.host.devices } else { &[] };
    let of_node = of_node.iter().filter_map(|device| Some((device.path.to_str()?.to_owned(), device.path.as_path())));
    let asked = inputs.container.devices.iter();
    let asked = asked.filter_map(|asked| Some((path::clean(asked.target.to_str()?), asked.source.as_path())));
    let mut found: Vec<(String, &std::path::Path)> = of_node.collect();
    for (target, source) in asked {
        found.retain(|(there, _)| *there != target);
        found.push((target, source));
    }
    found
}

fn node(device: &NodeDevice, at: &str) -> Device {
    Device {
        path: at.to_owned(),
        kind: letter(device.kind).to_owned(),
        major: i64::from(device.major),
        minor: i64::from(device.minor),
        file_mode: Some(device.mode & 0o7777),
        uid: Some(device.uid),
        gid: Some(device.gid),
    }
}

fn letter(kind: NodeDeviceKind) -> &'static str {
    match kind {
        NodeDeviceKind::Char => "c",
        NodeDeviceKind::Block => "b",
    }
}
