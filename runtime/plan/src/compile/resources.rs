//! The cgroup of a spec: its path, and its limits as writes.

use super::{CompileError, Facts, invalid, unsupported};
use crate::oci::{DeviceCgroup, Linux, Resources};
use orlop_cgroups::devices::{self, Instruction};
use orlop_cgroups::limits::{self, BadLimits, DeviceKind, DeviceRule, Limits};
use orlop_cgroups::{CgroupPath, Hierarchies};
use orlop_wire::plan::{CgroupPlan, CgroupWrite, DeviceAccess};

/// Returns the cgroup of a container; `None` when the spec names none.
pub(super) fn cgroup(linux: &Linux, facts: &Facts<'_>) -> Result<Option<CgroupPlan>, CompileError> {
    let Some(path) = &linux.cgroups_path else { return Ok(None) };
    let limits = limits(linux.resources.as_ref())?;
    let writes = limits::writes(&facts.hierarchies.layout(), &limits).map_err(|bad| field_of(&bad))?;
    let devices = match (enforced(linux, facts), &limits.devices) {
        (Enforced::No, _) => DeviceAccess::Unenforced,
        (Enforced::ByProgram, Some(rules)) => DeviceAccess::Program(program(rules)?),
        (Enforced::ByProgram, None) | (Enforced::ByFiles, _) => DeviceAccess::AsWritten,
    };
    Ok(Some(CgroupPlan { path: parse(path)?, writes, devices }))
}

/// How the device rules of a spec are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enforced {
    /// By v1's files; or there are none.
    ByFiles,
    /// By a program attached to the cgroup.
    ByProgram,
    /// Not at all.
    No,
}

/// Says how the device rules of a spec are enforced.
pub(super) fn enforced(linux: &Linux, facts: &Facts<'_>) -> Enforced {
    let has_rules = linux.resources.as_ref().is_some_and(|resources| !resources.devices.is_empty());
    if !has_rules || facts.hierarchies.layout().v1.contains("devices") {
        Enforced::ByFiles
    } else if facts.device_programs && facts.hierarchies.unified.is_some() {
        Enforced::ByProgram
    } else {
        Enforced::No
    }
}

fn program(rules: &[DeviceRule]) -> Result<Vec<u8>, CompileError> {
    let program = devices::program(rules).map_err(|bad| invalid("linux.resources.devices", bad.to_string()))?;
    Ok(program.into_iter().flat_map(Instruction::to_bytes).collect())
}

/// Returns what to write when limits change. Device rules were enforced from the start, and are no limits.
pub(super) fn change(
    old: &Resources,
    new: &Resources,
    hierarchies: &Hierarchies,
) -> Result<Vec<CgroupWrite>, CompileError> {
    let of = |resources| limits(Some(resources)).map(|limits| Limits { devices: None, ..limits });
    limits::change(&hierarchies.layout(), &of(old)?, &of(new)?).map_err(|bad| field_of(&bad))
}

/// Returns the cgroup of a container, to be entered as it is.
pub(super) fn entered(linux: &Linux) -> Result<Option<CgroupPlan>, CompileError> {
    let path = linux.cgroups_path.as_deref();
    path.map(|path| Ok(CgroupPlan { path: parse(path)?, ..CgroupPlan::default() })).transpose()
}

fn parse(path: &str) -> Result<String, CompileError> {
    // `slice:prefix:name` is the systemd driver's form.
    if path.contains(':') && !path.starts_with('/') {
        return Err(unsupported("linux.cgroupsPath", "the systemd cgroup driver is not built yet"));
    }
    let parsed = CgroupPath::parse(path).map_err(|bad| invalid("linux.cgroupsPath", bad.to_string()))?;
    Ok(parsed.as_str().to_owned())
}

fn field_of(bad: &BadLimits) -> CompileError {
    let why = bad.to_string();
    match bad {
        BadLimits::SwapBelowMemory { .. } | BadLimits::SwapWithoutMemory(_) => {
            invalid("linux.resources.memory.swap", why)
        }
        BadLimits::BadSwappiness(_) => invalid("linux.resources.memory.swappiness", why),
        BadLimits::UnifiedOnV1(_) => unsupported("linux.resources.unified", why),
        BadLimits::BadUnified(_) => invalid("linux.resources.unified", why),
        BadLimits::BadPageSize(_) => invalid("linux.resources.hugepageLimits", why),
        BadLimits::BadSet(_) => invalid("linux.resources.cpu", why),
        BadLimits::BadAccess(_) => invalid("linux.resources.devices", why),
    }
}

/// Translates the limits of a spec. Zero leaves a limit as it is where a cgroup can't hold zero of it.
fn limits(resources: Option<&Resources>) -> Result<Limits, CompileError> {
    let Some(resources) = resources else { return Ok(Limits::default()) };
    let mut out = Limits::default();
    if let Some(cpu) = &resources.cpu {
        out.cpu_shares = cpu.shares.filter(|shares| *shares != 0);
        out.cpu_quota_us = cpu.quota.filter(|us| *us != 0);
        out.cpu_period_us = cpu.period.filter(|us| *us != 0);
        out.cpuset_cpus = cpu.cpus.clone().unwrap_or_default();
        out.cpuset_mems = cpu.mems.clone().unwrap_or_default();
    }
    if let Some(memory) = &resources.memory {
        out.memory_bytes_max = memory.limit.filter(|bytes| *bytes != 0);
        out.memory_swap_bytes_max = memory.swap.filter(|bytes| *bytes != 0);
        out.memory_swappiness = memory.swappiness;
        out.memory_reservation_bytes = memory.reservation.filter(|bytes| *bytes != 0);
    }
    out.pids_max = resources.pids.as_ref().and_then(|pids| pids.limit);
    out.hugepage_bytes_max = resources.hugepage_limits.iter().map(|h| (h.page_size.clone(), h.limit)).collect();
    out.unified.clone_from(&resources.unified);
    if !resources.devices.is_empty() {
        out.devices = Some(resources.devices.iter().map(device).collect::<Result<_, _>>()?);
    }
    Ok(out)
}

fn device(rule: &DeviceCgroup) -> Result<DeviceRule, CompileError> {
    let kind = match rule.kind.as_deref() {
        None | Some("" | "a") => DeviceKind::All,
        Some("c" | "u") => DeviceKind::Char,
        Some("b") => DeviceKind::Block,
        Some(other) => return Err(invalid("linux.resources.devices", format!("{other:?} is no kind of device"))),
    };
    let number = |number: Option<i64>| match number {
        None | Some(..0) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| invalid("linux.resources.devices", format!("{number} is no device number"))),
    };
    let access = match rule.access.as_deref() {
        None | Some("") => "rwm".to_owned(),
        Some(access) => access.to_owned(),
    };
    Ok(DeviceRule { allow: rule.allow, kind, major: number(rule.major)?, minor: number(rule.minor)?, access })
}
