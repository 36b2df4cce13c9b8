//! Confinement of a container.

use super::Result;
use crate::dto::host_config::HostConfig;
use crate::http::error::ApiError;
use orlop_model::container::{Device, DeviceKind, DeviceRule, SeccompProfile, Security};
use std::path::PathBuf;

/// Checks everything about confinement.
pub(crate) fn security(host: &HostConfig) -> Result<Security> {
    let mut security = Security {
        privileged: host.privileged,
        capabilities_add: capabilities("CapAdd", host.cap_add.as_deref())?,
        capabilities_drop: capabilities("CapDrop", host.cap_drop.as_deref())?,
        masked_paths: paths("MaskedPaths", host.masked_paths.as_deref())?,
        readonly_paths: paths("ReadonlyPaths", host.readonly_paths.as_deref())?,
        ..Security::default()
    };
    if host.privileged {
        security.seccomp = SeccompProfile::Unconfined;
        security.masked_paths = Some(Vec::new());
        security.readonly_paths = Some(Vec::new());
    }
    for (at, option) in host.security_opt.iter().flatten().enumerate() {
        apply(option, at, &mut security)?;
    }
    Ok(security)
}

/// Applies one of `no-new-privileges`, `seccomp=…`, `apparmor=…`, `label=…`, `systempaths=…`.
fn apply(option: &str, at: usize, security: &mut Security) -> Result<()> {
    let (name, value) = option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((option, ""));
    match (name, value) {
        ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
        ("no-new-privileges", "false") => security.no_new_privileges = false,
        ("seccomp", "unconfined") => security.seccomp = SeccompProfile::Unconfined,
        ("seccomp", "builtin") => {}
        ("seccomp", profile) if profile.trim_start().starts_with('{') => {
            security.seccomp = SeccompProfile::Custom(profile.to_owned());
        }
        ("seccomp", other) => {
            return Err(ApiError::bad(format!("Decoding seccomp profile failed: {other:?} is no JSON")));
        }
        ("systempaths", "unconfined") => {
            security.masked_paths = Some(Vec::new());
            security.readonly_paths = Some(Vec::new());
        }
        // Neither is used on this node, so that nothing is confined by it.
        ("apparmor", "unconfined" | "") | ("label", "disable") => {}
        ("apparmor" | "label" | "writable-cgroups", _) => {
            return Err(ApiError::not_built(format!("SecurityOpt {option}")));
        }
        _ => return Err(ApiError::bad(format!("invalid --security-opt {}: {option:?}", at + 1))),
    }
    Ok(())
}

/// Checks names and returns them without `CAP_`, in capitals.
fn capabilities(field: &str, asked: Option<&[String]>) -> Result<Vec<String>> {
    let name = |text: &String| {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match name {
            "ALL" => Ok("ALL".to_owned()),
            known if CAPABILITIES.contains(&known) => Ok(known.to_owned()),
            _ => Err(ApiError::bad(format!("invalid {field}: unknown capability: \"{text}\""))),
        }
    };
    asked.unwrap_or_default().iter().map(name).collect()
}

/// Every capability of Linux. capabilities(7)
const CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Checks paths that are hidden or made read-only; `None` takes the default list.
fn paths(field: &str, asked: Option<&[String]>) -> Result<Option<Vec<String>>> {
    let Some(asked) = asked else { return Ok(None) };
    match asked
        .iter()
        .find(|path| !path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == ".."))
    {
        Some(bad) => Err(ApiError::bad(format!("{field}: {bad:?} is not an absolute path without '..'"))),
        None => Ok(Some(asked.to_vec())),
    }
}

/// Checks devices.
pub(crate) fn devices(host: &HostConfig) -> Result<Vec<Device>> {
    let device = |asked: &crate::dto::host_config::Device| {
        let target = if asked.path_in_container.is_empty() { &asked.path_on_host } else { &asked.path_in_container };
        let absolute =
            |path: &str| path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..");
        if !absolute(&asked.path_on_host) || !absolute(target) {
            return Err(ApiError::bad(format!("invalid device: {:?} is not an absolute path", asked.path_on_host)));
        }
        let permissions = if asked.cgroup_permissions.is_empty() { "rwm" } else { &asked.cgroup_permissions };
        if !permissions.chars().all(|c| matches!(c, 'r' | 'w' | 'm')) {
            return Err(ApiError::bad(format!("invalid device mode: {permissions}")));
        }
        Ok(Device {
            target: PathBuf::from(target),
            source: PathBuf::from(&asked.path_on_host),
            permissions: permissions.to_owned(),
        })
    };
    host.devices.iter().flatten().map(device).collect()
}

/// Checks rules for devices that no node is made of: `c 7:128 rwm`.
pub(crate) fn device_rules(host: &HostConfig) -> Result<Vec<DeviceRule>> {
    let rules = host.device_cgroup_rules.iter().flatten();
    rules
        .map(|text| {
            device_rule(text).ok_or_else(|| ApiError::bad(format!("invalid device cgroup rule format: '{text}'")))
        })
        .collect()
}

fn device_rule(text: &str) -> Option<DeviceRule> {
    let [kind, numbers, permissions] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
    let kind = match kind {
        "a" => DeviceKind::Any,
        "c" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        _ => return None,
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    };
    let (major, minor) = numbers.split_once(':')?;
    let known = permissions.chars().all(|c| matches!(c, 'r' | 'w' | 'm'));
    if !known || !(1..=3).contains(&permissions.len()) {
        return None;
    }
    Some(DeviceRule { kind, major: number(major)?, minor: number(minor)?, permissions: permissions.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[&str]) -> Result<Security> {
        let security_opt = Some(options.iter().map(|option| (*option).to_owned()).collect());
        security(&HostConfig { security_opt, ..HostConfig::default() })
    }

    #[test]
    fn options_loosen_or_tighten() {
        assert!(with(&["no-new-privileges"]).unwrap().no_new_privileges);
        assert!(with(&["no-new-privileges:true"]).unwrap().no_new_privileges);
        assert_eq!(with(&["seccomp=unconfined"]).unwrap().seccomp, SeccompProfile::Unconfined);
        assert_eq!(with(&["seccomp={}"]).unwrap().seccomp, SeccompProfile::Custom("{}".to_owned()));
        assert_eq!(with(&["systempaths=unconfined"]).unwrap().masked_paths, Some(Vec::new()));
        assert_eq!(with(&["label=disable", "apparmor=unconfined"]).unwrap(), Security::default());
        for (option, status) in [("nosuch", 400), ("seccomp=file", 400), ("apparmor=mine", 501), ("label=type:x", 501)]
        {
            assert_eq!(with(&[option]).unwrap_err().status().as_u16(), status, "{option}");
        }
    }

    #[test]
    fn rules_for_devices_are_read_or_refused() {
        let rule = device_rule("c 7:128 rwm").unwrap();
        assert_eq!((rule.kind, rule.major, rule.minor), (DeviceKind::Char, Some(7), Some(128)));
        assert_eq!(device_rule("a *:* r").unwrap().major, None);
        for bad in ["", "c 7:128", "x 7:1 r", "c 7 r", "c 7:x r", "c 7:1 rx", "c 7:1 ", "c +7:1 r", "c 7:1 r w"] {
            assert_eq!(device_rule(bad), None, "{bad}");
        }
    }

    #[test]
    fn capabilities_are_known_or_refused() {
        let with = |name: &str| security(&HostConfig { cap_add: Some(vec![name.to_owned()]), ..HostConfig::default() });
        for (name, kept) in [("NET_ADMIN", "NET_ADMIN"), ("CAP_net_admin", "NET_ADMIN"), ("all", "ALL")] {
            assert_eq!(with(name).unwrap().capabilities_add, [kept]);
        }
        assert_eq!(with("FLY").unwrap_err().message(), "invalid CapAdd: unknown capability: \"FLY\"");
    }

    #[test]
    fn a_privileged_container_is_not_confined() {
        let security = security(&HostConfig { privileged: true, ..HostConfig::default() }).unwrap();
        assert_eq!((security.seccomp, security.masked_paths), (SeccompProfile::Unconfined, Some(Vec::new())));
    }
}
