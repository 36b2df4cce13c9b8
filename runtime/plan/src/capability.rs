//! Capabilities by name and by bit. capabilities(7), include/uapi/linux/capability.h.

/// Names without `CAP_`, by bit.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Every capability known here, one bit each.
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// Returns the bit of a name, with or without `CAP_`, in any case; `None` when it is not known.
#[must_use]
pub fn bit(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().zip(0..).find(|(known, _)| **known == bare).map(|(_, bit)| bit)
}

/// Returns the name of a bit, with `CAP_`; `None` when it is not known.
#[must_use]
pub fn name(bit: u32) -> Option<String> {
    NAMES.get(usize::try_from(bit).ok()?).map(|bare| format!("CAP_{bare}"))
}

/// Returns the names of a mask's bits, with `CAP_`, in the kernel's order.
#[must_use]
pub fn names(mask: u64) -> Vec<String> {
    (0..64).filter(|bit| mask & (1 << bit) != 0).filter_map(name).collect()
}

/// Returns the mask of names, and those that are not known.
#[must_use]
pub fn mask(names: &[String]) -> (u64, Vec<&str>) {
    let mut unknown = Vec::new();
    let mut mask = 0;
    for name in names {
        match bit(name) {
            Some(bit) => mask |= 1 << bit,
            None => unknown.push(name.as_str()),
        }
    }
    (mask, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_own_bit_back() {
        for at in 0..41 {
            assert_eq!(bit(&name(at).unwrap()), Some(at));
        }
        assert_eq!((bit("sys_admin"), bit("CAP_CHECKPOINT_RESTORE")), (Some(21), Some(40)));
        assert_eq!((name(41), bit("CAP_"), bit("ALL")), (None, None, None));
    }

    #[test]
    fn unknown_names_are_told_apart() {
        let given = ["CAP_CHOWN".to_owned(), "CAP_FLY".to_owned()];
        assert_eq!(mask(&given), (1, vec!["CAP_FLY"]));
        assert_eq!(names(0b11), ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
    }
}
