//! The texts of both versions' files as figures. Pure. What can't be read as the kernel writes it is left out.

use super::{Memory, Pressure, Stall, Swap};

/// A v1 limit at or above this is none: the kernel shows the largest number of whole pages.
const V1_UNLIMITED: u64 = 1 << 62;

/// Reads a file that holds one number.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Returns the number behind a word at the start of a line.
fn field(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(word)?.strip_prefix(' ')?))
}

/// Reads `cpu.stat`. Documentation/admin-guide/cgroup-v2.rst.
pub(super) fn v2_cpu_ns(stat: &str) -> Option<u64> {
    field(stat, "usage_usec")?.checked_mul(1000)
}

/// Reads v1's memory files. The `total_` figures are those of the cgroups below it too, as the usage is.
pub(super) fn v1_memory(usage: &str, limit: &str, stat: &str) -> Option<Memory> {
    Some(Memory {
        usage: number(usage)?,
        limit: v1_limit(limit)?,
        anon: field(stat, "total_rss")?,
        inactive_file: field(stat, "total_inactive_file")?,
        active_file: field(stat, "total_active_file")?,
        faults: field(stat, "total_pgfault")?,
        major_faults: field(stat, "total_pgmajfault")?,
    })
}

/// Reads v2's memory files.
pub(super) fn v2_memory(usage: &str, limit: &str, stat: &str) -> Option<Memory> {
    Some(Memory {
        usage: number(usage)?,
        limit: v2_limit(limit)?,
        anon: field(stat, "anon")?,
        inactive_file: field(stat, "inactive_file")?,
        active_file: field(stat, "active_file")?,
        faults: field(stat, "pgfault")?,
        major_faults: field(stat, "pgmajfault")?,
    })
}

/// Reads v1's swap: its limit is what the one on both leaves beside the one on memory.
pub(super) fn v1_swap(stat: &str, memory: &str, both: &str) -> Option<Swap> {
    let limit = match (v1_limit(memory)?, v1_limit(both)?) {
        (Some(memory), Some(both)) => Some(both.saturating_sub(memory)),
        (None, Some(both)) => Some(both),
        (_, None) => None,
    };
    Some(Swap { usage: field(stat, "total_swap")?, limit })
}

/// Reads v2's swap files.
pub(super) fn v2_swap(usage: &str, limit: &str) -> Option<Swap> {
    Some(Swap { usage: number(usage)?, limit: v2_limit(limit)? })
}

/// Reads a pressure file. The kernel left out `full` for the processor before 5.13.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let line = |word: &str| text.lines().find_map(|line| stall(line.strip_prefix(word)?));
    Some(Pressure { some: line("some ")?, full: line("full ").unwrap_or_default() })
}

fn stall(line: &str) -> Option<Stall> {
    let value = |name: &str| line.split(' ').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let share = |name: &str| hundredths(value(name)?);
    let total_us = value("total")?.trim().parse().ok()?;
    Some(Stall { avg10: share("avg10")?, avg60: share("avg60")?, avg300: share("avg300")?, total_us })
}

/// Reads `12.34` as 1234: the kernel writes two digits behind the point.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.')?;
    let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let part: u32 = part.parse().ok().filter(|_| digits)?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)
}

#[allow(clippy::option_option, reason = "unreadable, unlimited, limited")]
fn v1_limit(text: &str) -> Option<Option<u64>> {
    number(text).map(|limit| Some(limit).filter(|limit| *limit < V1_UNLIMITED))
}

#[allow(clippy::option_option, reason = "unreadable, unlimited, limited")]
fn v2_limit(text: &str) -> Option<Option<u64>> {
    if text.trim() == "max" { Some(None) } else { number(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kernel 6.18 shows it, in part.
    const V1_STAT: &str = "\
cache 4096
rss 143360
pgfault 298
inactive_file 1
hierarchical_memory_limit 9223372036854771712
total_cache 8192
total_rss 286720
total_swap 12288
total_pgfault 596
total_pgmajfault 2
total_inactive_file 4096
total_active_file 8192
";

    /// In the form of cgroup-v2.rst, in part.
    const V2_STAT: &str = "\
anon 200704
file 1093632
kernel 163840
inactive_anon 196608
inactive_file 745472
active_file 348160
pgfault 1405
pgmajfault 3
";

    #[test]
    fn v1_memory_is_that_of_the_whole_subtree() {
        let memory = v1_memory("6299648\n", "9223372036854771712\n", V1_STAT).unwrap();
        let expected = Memory {
            usage: 6_299_648,
            limit: None,
            anon: 286_720,
            inactive_file: 4096,
            active_file: 8192,
            faults: 596,
            major_faults: 2,
        };
        assert_eq!(memory, expected);
        assert_eq!(v1_memory("1\n", "15728640\n", V1_STAT).unwrap().limit, Some(15_728_640));
        assert_eq!(v1_memory("1\n", "x\n", V1_STAT), None);
        assert_eq!(v1_memory("1\n", "1\n", "rss 1\n"), None);
    }

    #[test]
    fn v2_memory_is_read() {
        let expected = Memory {
            usage: 1_499_136,
            limit: Some(20_971_520),
            anon: 200_704,
            inactive_file: 745_472,
            active_file: 348_160,
            faults: 1405,
            major_faults: 3,
        };
        assert_eq!(v2_memory("1499136\n", "20971520\n", V2_STAT), Some(expected));
        assert_eq!(v2_memory("1\n", "max\n", V2_STAT).unwrap().limit, None);
    }

    #[test]
    fn swap_is_read_in_both_versions_terms() {
        for (memory, both, limit) in [
            ("9223372036854771712", "9223372036854771712", None),
            ("100", "9223372036854771712", None),
            ("100", "300", Some(200)),
            ("100", "100", Some(0)),
            ("9223372036854771712", "300", Some(300)),
        ] {
            assert_eq!(v1_swap(V1_STAT, memory, both), Some(Swap { usage: 12_288, limit }), "{memory} {both}");
        }
        assert_eq!(v2_swap("4096\n", "max\n"), Some(Swap { usage: 4096, limit: None }));
        assert_eq!(v2_swap("4096\n", "0\n"), Some(Swap { usage: 4096, limit: Some(0) }));
    }

    #[test]
    fn v2_processor_time_is_made_nanoseconds() {
        let stat = "usage_usec 4242\nuser_usec 4000\nsystem_usec 242\nnr_periods 0\n";
        assert_eq!(v2_cpu_ns(stat), Some(4_242_000));
        assert_eq!(v2_cpu_ns("user_usec 4000\n"), None);
    }

    #[test]
    fn pressure_is_read_with_and_without_the_full_line() {
        let text =
            "some avg10=1.53 avg60=0.87 avg300=12.00 total=1219583\nfull avg10=0.00 avg60=0.01 avg300=0.00 total=7\n";
        let some = Stall { avg10: 153, avg60: 87, avg300: 1200, total_us: 1_219_583 };
        let full = Stall { avg10: 0, avg60: 1, avg300: 0, total_us: 7 };
        assert_eq!(pressure(text), Some(Pressure { some, full }));
        let first = text.lines().next().unwrap();
        assert_eq!(pressure(first), Some(Pressure { some, full: Stall::default() }));
        for bad in ["", "some avg10=1", "some avg10=1.5 avg60=0.87 avg300=12.00 total=1", "full avg10=0.00"] {
            assert_eq!(pressure(bad), None, "{bad:?}");
        }
    }
}
