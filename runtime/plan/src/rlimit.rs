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
