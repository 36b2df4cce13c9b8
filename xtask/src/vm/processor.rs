//! Whether user-mode Linux can run on this machine's processor. Pure but for the reading of the flags.

/// A flag of processors whose registers are more than Debian 12's user-mode Linux knows of: it sets them by ptrace(2) from a
/// buffer for AVX-512 (2,696 bytes), the host wants all that the processor has (with AMX some 11,000), and the machine's first
/// process dies by the refusal. arch/x86/um/os-Linux/registers.c of 6.1, `xstateregs_set` of the host.
const TOO_WIDE: &str = "amx_tile";

/// Returns why the machine can't run here, if it can't.
pub fn obstacle() -> Option<String> {
    why(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

fn why(cpuinfo: &str) -> Option<String> {
    let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags")).flat_map(str::split_whitespace);
    flags.any(|flag| flag == TOO_WIDE).then(|| {
        format!(
            "this processor has {TOO_WIDE}, whose registers user-mode Linux of Debian 12 can't restore; a machine without it runs this"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_registers_are_told_from_others() {
        assert_eq!(why("model name : amx_tile\nflags : fpu avx512f amx_bf16\n"), None);
        assert!(why("flags\t\t: fpu avx512f amx_tile amx_int8\n").unwrap().contains("amx_tile"));
        assert_eq!(why(""), None);
    }
}
