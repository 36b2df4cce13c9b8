//! A profile with its names resolved.

use super::{BadProfile, syscalls};
use crate::oci::{LinuxSeccomp, LinuxSyscall, SeccompArg};
use std::collections::BTreeMap;

/// What the filter answers: the kernel's `SECCOMP_RET_*` with its data.
pub(super) type Verdict = u32;

/// "No such call", as a kernel without it says.
pub(super) const NO_SUCH_CALL: Verdict = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// Ends the process: for calls of an architecture that this kernel can't even have.
pub(super) const KILL: Verdict = libc::SECCOMP_RET_KILL_PROCESS;

/// Names passed over that are reported; profiles list hundreds of calls of other architectures.
const WARNINGS_MAX: usize = 8;

/// The kernel's last errno.
const ERRNO_MAX: u32 = 4095;

/// A profile by call number.
#[derive(Debug)]
pub(super) struct Policy {
    /// For calls of our table that no rule matches.
    pub(super) default: Verdict,
    /// For calls newer than our table.
    pub(super) newer: Verdict,
    /// Rules by call, in the profile's order.
    pub(super) calls: BTreeMap<u32, Vec<Rule>>,
}

/// A verdict, and when it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// All must hold; none always does.
    pub(super) checks: Vec<Check>,
    pub(super) verdict: Verdict,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// 0 to 5.
    pub(super) argument: u32,
    pub(super) comparison: Comparison,
}

/// How an argument is compared, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    MaskedEqual { mask: u64, value: u64 },
}

// === impl Policy ===

impl Policy {
    pub(super) fn new(profile: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<Self, BadProfile> {
        let default = verdict(&profile.default_action, profile.default_errno_ret)?;
        let mut policy = Self { default, newer: for_newer_calls(default), calls: BTreeMap::new() };
        let mut unknown = 0;
        for rule in &profile.syscalls {
            let rules = rules(rule)?;
            for name in &rule.names {
                match syscalls::number(name) {
                    Some(number) => policy.calls.entry(number).or_default().extend_from_slice(&rules),
                    None if unknown < WARNINGS_MAX => {
                        unknown += 1;
                        warnings.push(format!("seccomp: no system call {name:?} on this architecture"));
                    }
                    None => unknown += 1,
                }
            }
        }
        for rules in policy.calls.values_mut() {
            drop_unreachable(rules);
        }
        Ok(policy)
    }
}

/// Nothing behind a rule without conditions can match.
fn drop_unreachable(rules: &mut Vec<Rule>) {
    if let Some(last) = rules.iter().position(|rule| rule.checks.is_empty()) {
        rules.truncate(last + 1);
    }
}

/// A profile that refuses what it does not name was written before those calls existed; programs that try one expect a
/// kernel that may not have it.
fn for_newer_calls(default: Verdict) -> Verdict {
    match default & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG | libc::SECCOMP_RET_TRACE => default,
        _ => NO_SUCH_CALL,
    }
}

/// Conditions of a rule hold together, but where two are on the same argument each makes a rule of its own, as in runc:
/// libseccomp takes one condition per argument.
fn rules(rule: &LinuxSyscall) -> Result<Vec<Rule>, BadProfile> {
    let verdict = verdict(&rule.action, rule.errno_ret)?;
    let checks = rule.args.iter().map(|arg| check(rule, arg)).collect::<Result<Vec<_>, _>>()?;
    let mut arguments: Vec<u32> = checks.iter().map(|check| check.argument).collect();
    arguments.sort_unstable();
    let doubled = arguments.windows(2).any(|pair| pair[0] == pair[1]);
    Ok(if doubled {
        checks.into_iter().map(|check| Rule { checks: vec![check], verdict }).collect()
    } else {
        vec![Rule { checks, verdict }]
    })
}

fn check(rule: &LinuxSyscall, arg: &SeccompArg) -> Result<Check, BadProfile> {
    if arg.index > 5 {
        let call = rule.names.first().cloned().unwrap_or_default();
        return Err(BadProfile::Argument { call, index: arg.index });
    }
    let value = arg.value;
    let comparison = match arg.op.as_str() {
        "SCMP_CMP_EQ" => Comparison::Equal(value),
        "SCMP_CMP_NE" => Comparison::NotEqual(value),
        "SCMP_CMP_LT" => Comparison::Less(value),
        "SCMP_CMP_LE" => Comparison::LessOrEqual(value),
        "SCMP_CMP_GT" => Comparison::Greater(value),
        "SCMP_CMP_GE" => Comparison::GreaterOrEqual(value),
        "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEqual { mask: value, value: arg.value_two },
        other => return Err(BadProfile::Comparison(other.chars().take(100).collect())),
    };
    Ok(Check { argument: arg.index, comparison })
}

fn verdict(action: &str, errno: Option<u32>) -> Result<Verdict, BadProfile> {
    let errno = errno.unwrap_or(libc::EPERM as u32);
    if errno > ERRNO_MAX {
        return Err(BadProfile::Errno(errno));
    }
    Ok(match action {
        "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO | errno,
        "SCMP_ACT_TRACE" => libc::SECCOMP_RET_TRACE | errno,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => libc::SECCOMP_RET_KILL_PROCESS,
        "SCMP_ACT_NOTIFY" => return Err(BadProfile::Notify(action.to_owned())),
        other => return Err(BadProfile::Action(other.chars().take(100).collect())),
    })
}

/// Returns the filter flags of names.
pub(super) fn flags(names: &[String]) -> Result<u64, BadProfile> {
    let mut flags: u64 = 0;
    for name in names {
        flags |= match name.as_str() {
            "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            // One thread becomes the program, and nobody waits for notifications.
            "SECCOMP_FILTER_FLAG_TSYNC" | "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => 0,
            other => return Err(BadProfile::Flag(other.chars().take(100).collect())),
        };
    }
    Ok(flags)
}
