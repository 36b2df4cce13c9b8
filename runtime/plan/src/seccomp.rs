//! Seccomp profiles to filters.
//!
//! [`default_profile`] is what a container gets when nobody says otherwise; [`document::parse`] reads a profile file, with
//! the conditions on capabilities that Docker's format adds; [`compile`] turns either into classic BPF, which the kernel
//! runs at every system call. seccomp(2), Documentation/userspace-api/seccomp_filter.rst.
//!
//! What always holds: the first rule of a profile that matches a call decides; calls of other architectures never reach a
//! rule (32-bit ones are answered ENOSYS, as on a kernel built without them); calls newer than our table are answered ENOSYS
//! where the profile would refuse them, so that programs fall back instead of giving up.

mod assemble;
mod cache;
mod default;
pub mod document;
mod policy;
mod syscalls;

pub use cache::Cache;
pub use default::profile as default_profile;

use crate::oci::LinuxSeccomp;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("this architecture has no table of system calls yet; see seccomp/syscalls.rs");

/// A filter that the kernel takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `sock_filter` records of 8 bytes each, native byte order.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
    /// Names that were passed over.
    pub warnings: Vec<String>,
}

/// Why a profile can't be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProfile {
    /// Not JSON, or not of this form.
    #[error("the seccomp profile can't be read: {0}")]
    Json(String),
    /// Larger than we read.
    #[error("the seccomp profile has {0} bytes, at most {max} are read", max = document::BYTES_MAX)]
    TooLong(usize),
    /// An action that is not known. Not passed over, since a rule without its action protects nothing.
    #[error("seccomp action {0:?} is not known")]
    Action(String),
    /// An action that is not built.
    #[error("seccomp action {0} is not supported: nobody here listens for notifications")]
    Notify(String),
    /// A comparison that is not known.
    #[error("seccomp comparison {0:?} is not known")]
    Comparison(String),
    /// System calls have six arguments.
    #[error("seccomp rule for {call}: there is no argument {index}, the last is 5")]
    Argument {
        /// The first call of the rule.
        call: String,
        /// As given.
        index: u32,
    },
    /// The kernel's errors end at 4095.
    #[error("seccomp errno {0} is out of range, the last is 4095")]
    Errno(u32),
    /// A filter flag that is not known.
    #[error("seccomp flag {0:?} is not known")]
    Flag(String),
    /// More than the kernel takes.
    #[error("the seccomp profile needs {0} instructions, the kernel takes 4096; use fewer rules with arguments")]
    TooLarge(usize),
}

/// Compiles a profile.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, BadProfile> {
    let mut warnings = Vec::new();
    let policy = policy::Policy::new(profile, &mut warnings)?;
    let program = assemble::assemble(&policy)?;
    Ok(Filter { program, flags: policy::flags(&profile.flags)?, warnings })
}

#[cfg(test)]
mod tests;
