//! Resource limits by name. getrlimit(2), include/uapi/asm-generic/resource.h.

/// Names without `RLIMIT_`, by number; the same on every architecture we build for.
const NAMES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

/// Hard limits of a process, by number; `u64::MAX` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardLimits(pub [u64; NAMES.len()]);

impl HardLimits {
    /// Those of a process that is held by nothing.
    pub const NONE: Self = Self([u64::MAX; NAMES.len()]);

    /// Returns the hard limit of a resource.
    #[must_use]
    pub fn of(&self, number: u32) -> u64 {
        usize::try_from(number).ok().and_then(|number| self.0.get(number)).copied().unwrap_or(u64::MAX)
    }
}

/// Returns the number of a limit such as `RLIMIT_NOFILE`; `None` when it is not known.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    let bare = name.strip_prefix("RLIMIT_")?;
    NAMES.iter().zip(0..).find(|(known, _)| **known == bare).map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (name, expected) in [
            ("RLIMIT_CPU", libc::RLIMIT_CPU),
            ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
            ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
        ] {
            assert_eq!(number(name), Some(expected));
        }
        assert_eq!((number("NOFILE"), number("RLIMIT_X")), (None, None));
    }
}
