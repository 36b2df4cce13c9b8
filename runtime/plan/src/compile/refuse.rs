//! Fields that nothing here acts on: which must not be passed over in silence.

use super::{CompileError, invalid, unsupported};
use crate::oci::{Other, Spec};
use serde_json::Value;

/// Fields that would change what the container may do or gets: refused when they say anything.
const REFUSED: &[(&str, &str)] = &[
    ("hooks", "hooks are not built yet"),
    ("process.apparmorProfile", "AppArmor is not built yet"),
    ("process.selinuxLabel", "SELinux is not built yet"),
    ("process.scheduler", "scheduling policies are not built yet"),
    ("process.ioPriority", "IO priorities are not built yet"),
    ("process.execCPUAffinity", "CPU affinities are not built yet"),
    ("linux.mountLabel", "SELinux is not built yet"),
    ("linux.intelRdt", "resctrl is not built yet"),
    ("linux.memoryPolicy", "memory policies are not built yet"),
    ("linux.personality", "personalities are not built yet"),
    ("linux.timeOffsets", "time namespaces are not built yet"),
    ("linux.netDevices", "moving network devices is not built yet"),
    ("linux.resources.blockIO", "limits on block devices are not built yet"),
    ("linux.resources.network", "net_cls and net_prio are not built yet"),
    ("linux.resources.rdma", "limits on RDMA are not built yet"),
    ("linux.resources.memory.disableOOMKiller", "running without the OOM killer is not built"),
    ("linux.resources.cpu.burst", "CPU bursts are not built yet"),
    ("linux.resources.cpu.idle", "idle CPU groups are not built yet"),
    ("linux.resources.cpu.realtimeRuntime", "real-time scheduling groups are not built"),
    ("linux.resources.cpu.realtimePeriod", "real-time scheduling groups are not built"),
];

/// Fields that are other systems', without effect today, or settled elsewhere.
const PASSED_OVER: &[&str] = &[
    "vm",
    "solaris",
    "windows",
    "zos",
    "freebsd",
    "process.consoleSize",
    "process.commandLine",
    "linux.resources.memory.kernel",
    "linux.resources.memory.kernelTCP",
    "linux.resources.memory.useHierarchy",
];

/// Refuses a spec that asks for what is not built; returns what is passed over.
pub(super) fn check(spec: &Spec) -> Result<Vec<String>, CompileError> {
    // Every 1.x is read: the runtime-spec keeps them compatible.
    if !spec.oci_version.starts_with("1.") {
        return Err(invalid("ociVersion", format!("{:?} is not a version 1 of the runtime-spec", spec.oci_version)));
    }
    let mut warnings = Vec::new();
    let mut look = |at: &str, other: &Other| fields(at, other, &mut warnings);
    look("", &spec.other)?;
    if let Some(process) = &spec.process {
        look("process.", &process.other)?;
    }
    for mount in &spec.mounts {
        look("mounts.", &mount.other)?;
    }
    let Some(linux) = &spec.linux else { return Ok(warnings) };
    look("linux.", &linux.other)?;
    let Some(resources) = &linux.resources else { return Ok(warnings) };
    look("linux.resources.", &resources.other)?;
    if let Some(memory) = &resources.memory {
        look("linux.resources.memory.", &memory.other)?;
    }
    if let Some(cpu) = &resources.cpu {
        look("linux.resources.cpu.", &cpu.other)?;
    }
    Ok(warnings)
}

fn fields(at: &str, other: &Other, warnings: &mut Vec<String>) -> Result<(), CompileError> {
    for (name, _) in other.iter().filter(|(_, value)| !says_nothing(value)) {
        let path = format!("{at}{name}");
        if let Some((_, why)) = REFUSED.iter().find(|(field, _)| *field == path) {
            return Err(unsupported(path, *why));
        }
        if !PASSED_OVER.contains(&path.as_str()) {
            warnings.push(format!("{path} is not known and passed over"));
        }
    }
    Ok(())
}

/// Says whether a value asks for nothing: writers fill in empty objects and zeros.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(says_nothing),
        Value::Object(fields) => fields.values().all(says_nothing),
    }
}
