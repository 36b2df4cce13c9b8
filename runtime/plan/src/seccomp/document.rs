//! Profile files: the OCI form, and Docker's, which adds conditions to rules.

use super::BadProfile;
use crate::capability;
use crate::oci::{LinuxSeccomp, LinuxSyscall};
use serde::{Deserialize, Deserializer};

/// Longest profile read. Docker's default has 13 KB.
pub const BYTES_MAX: usize = 1 << 20;

/// Names of the architecture we run on, as profiles write it.
const ARCHITECTURES: [&str; 2] = ["amd64", "x86_64"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    flags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// Docker's oldest form has one name.
    #[serde(default)]
    name: Option<String>,
    #[serde(flatten)]
    rule: LinuxSyscall,
    #[serde(default, deserialize_with = "nullable")]
    includes: Condition,
    #[serde(default, deserialize_with = "nullable")]
    excludes: Condition,
}

/// `minKernel` is passed over: every kernel that we run on is newer than any that profiles ask for (4.8).
#[derive(Default, Deserialize)]
struct Condition {
    #[serde(default, deserialize_with = "nullable")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    arches: Vec<String>,
}

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Reads a profile for a process that will hold `capabilities`, one bit each. The result has no conditions left.
pub fn parse(json: &[u8], capabilities: u64) -> Result<LinuxSeccomp, BadProfile> {
    if json.len() > BYTES_MAX {
        return Err(BadProfile::TooLong(json.len()));
    }
    let document: Document = serde_json::from_slice(json).map_err(|e| BadProfile::Json(e.to_string()))?;
    let rules = document.syscalls.into_iter().filter(|entry| entry.applies(capabilities));
    let profile = LinuxSeccomp {
        default_action: document.default_action,
        default_errno_ret: document.default_errno_ret,
        flags: document.flags,
        syscalls: rules.map(Entry::into_rule).collect(),
        ..LinuxSeccomp::default()
    };
    Ok(profile)
}

impl Entry {
    fn applies(&self, held: u64) -> bool {
        let has = |name: &String| capability::bit(name).is_some_and(|bit| held & (1 << bit) != 0);
        let here = |name: &String| ARCHITECTURES.contains(&name.as_str());
        let Self { includes, excludes, .. } = self;
        includes.caps.iter().all(has)
            && (includes.arches.is_empty() || includes.arches.iter().any(here))
            && !excludes.caps.iter().any(has)
            && !excludes.arches.iter().any(here)
    }

    fn into_rule(self) -> LinuxSyscall {
        let mut rule = self.rule;
        rule.names.extend(self.name);
        rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &[u8] = br#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "archMap": [{"architecture": "SCMP_ARCH_X86_64"}],
        "syscalls": [
            {"name": "read", "action": "SCMP_ACT_ALLOW", "args": null},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}, "comment": ""},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390"]},
             "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["arm_x"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}, "excludes": {}}
        ]}"#;

    fn names(capabilities: u64) -> Vec<String> {
        parse(DOCUMENT, capabilities).unwrap().syscalls.into_iter().flat_map(|rule| rule.names).collect()
    }

    #[test]
    fn rules_depend_on_capabilities_and_architecture() {
        assert_eq!(names(0), ["read", "clone", "ptrace"]);
        assert_eq!(names(1 << 21), ["read", "mount", "ptrace"]);
        assert_eq!(parse(DOCUMENT, 0).unwrap().default_errno_ret, Some(38));
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for bad in [&b""[..], b"[]", b"{}", br#"{"defaultAction": 3}"#] {
            assert!(matches!(parse(bad, 0), Err(BadProfile::Json(_))));
        }
        assert!(matches!(parse(&vec![b' '; BYTES_MAX + 1], 0), Err(BadProfile::TooLong(_))));
    }
}
