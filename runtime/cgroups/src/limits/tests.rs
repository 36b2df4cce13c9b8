use super::*;
use crate::Mode;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn layout(mode: Mode) -> Layout {
    Layout { mode, v1: BTreeSet::new(), unified: BTreeSet::new() }
}

#[track_caller]
fn check(mode: Mode, limits: &Limits, expected: &[&str]) {
    let got = writes(&layout(mode), limits).unwrap();
    let got: Vec<String> = got.iter().map(|w| format!("{}/{} {}", w.controller, w.file, w.value)).collect();
    assert_eq!(got, expected);
}

fn some() -> Limits {
    Limits {
        cpu_shares: Some(1024),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        cpuset_cpus: "0-1".into(),
        memory_bytes_max: Some(100),
        memory_swap_bytes_max: Some(150),
        memory_reservation_bytes: Some(40),
        memory_swappiness: Some(60),
        pids_max: Some(0),
        hugepage_bytes_max: [("2MB".to_owned(), 0)].into(),
        ..Limits::default()
    }
}

#[test]
fn v1_writes_its_own_files() {
    let expected = [
        "cpu/cpu.shares 1024",
        "cpu/cpu.cfs_period_us 100000",
        "cpu/cpu.cfs_quota_us 50000",
        "cpuset/cpuset.cpus 0-1",
        "memory/memory.limit_in_bytes 100",
        "memory/memory.memsw.limit_in_bytes 150",
        "memory/memory.soft_limit_in_bytes 40",
        "memory/memory.swappiness 60",
        "pids/pids.max 1",
        "hugetlb/hugetlb.2MB.limit_in_bytes 0",
    ];
    check(Mode::V1, &some(), &expected);
    check(Mode::Hybrid, &some(), &expected);
}

#[test]
fn v2_takes_swap_apart_from_memory_and_weight_from_shares() {
    let expected = [
        "/cpu.weight 100",
        "/cpu.max 50000 100000",
        "/cpuset.cpus 0-1",
        "/memory.max 100",
        "/memory.swap.max 50",
        "/memory.low 40",
        "/pids.max 1",
        "/hugetlb.2MB.max 0",
    ];
    check(Mode::V2, &some(), &expected);
}

#[test]
fn unlimited_is_said_in_each_tongue() {
    let limits = Limits {
        cpu_quota_us: Some(-1),
        memory_bytes_max: Some(-1),
        memory_swap_bytes_max: Some(-1),
        pids_max: Some(-1),
        ..Limits::default()
    };
    check(Mode::V2, &limits, &["/cpu.max max", "/memory.max max", "/memory.swap.max max", "/pids.max max"]);
    let v1 = [
        "cpu/cpu.cfs_quota_us -1",
        "memory/memory.limit_in_bytes -1",
        "memory/memory.memsw.limit_in_bytes -1",
        "pids/pids.max max",
    ];
    check(Mode::V1, &limits, &v1);
}

#[test]
fn unlimited_memory_takes_the_bound_on_swap_away_too() {
    let limits = Limits { memory_bytes_max: Some(-1), ..Limits::default() };
    let old = Limits { memory_bytes_max: Some(5), memory_swap_bytes_max: Some(5), ..Limits::default() };
    let got = change(&layout(Mode::V1), &old, &limits).unwrap();
    assert_eq!(got[0].file, "memory.memsw.limit_in_bytes");
    assert_eq!(got[1].file, "memory.limit_in_bytes");
}

#[test]
fn devices_are_written_on_v1_in_the_order_given() {
    let rule = |allow, kind, major, access: &str| DeviceRule { allow, kind, major, minor: None, access: access.into() };
    let devices = Some(vec![rule(false, DeviceKind::All, None, "rwm"), rule(true, DeviceKind::Char, Some(136), "rw")]);
    let limits = Limits { devices, ..Limits::default() };
    check(Mode::V1, &limits, &["devices/devices.deny a", "devices/devices.allow c 136:* rw"]);
    check(Mode::V2, &limits, &[]);
}

#[test]
fn unified_files_are_refused_on_v1_and_checked_on_v2() {
    let limits = |file: &str| Limits { unified: [(file.to_owned(), "1".to_owned())].into(), ..Limits::default() };
    assert!(matches!(writes(&layout(Mode::Hybrid), &limits("memory.high")), Err(BadLimits::UnifiedOnV1(_))));
    check(Mode::V2, &limits("memory.high"), &["/memory.high 1"]);
    for bad in ["", "memory", "../memory.max", "a/b.c", "cgroup.procs", ".x", "memory."] {
        assert!(matches!(writes(&layout(Mode::V2), &limits(bad)), Err(BadLimits::BadUnified(_))), "{bad}");
    }
}

#[test]
fn limits_that_contradict_are_refused() {
    let memory = |memory, swap| Limits { memory_bytes_max: memory, memory_swap_bytes_max: swap, ..Limits::default() };
    let at = layout(Mode::V1);
    assert!(matches!(writes(&at, &memory(Some(10), Some(5))), Err(BadLimits::SwapBelowMemory { .. })));
    assert!(matches!(writes(&at, &memory(None, Some(5))), Err(BadLimits::SwapWithoutMemory(5))));
    assert!(matches!(writes(&at, &memory(Some(-1), Some(5))), Err(BadLimits::SwapWithoutMemory(5))));
    let set = Limits { cpuset_cpus: "0-1\n".into(), ..Limits::default() };
    assert!(matches!(writes(&at, &set), Err(BadLimits::BadSet(_))));
    let page = Limits { hugepage_bytes_max: [("../2MB".to_owned(), 1)].into(), ..Limits::default() };
    assert!(matches!(writes(&at, &page), Err(BadLimits::BadPageSize(_))));
}

#[test]
fn least_default_and_most_shares_meet_least_default_and_most_weight() {
    for (shares, weight) in
        [(0, 1), (1, 1), (2, 1), (102, 17), (1024, 100), (262_143, 10_000), (262_144, 10_000), (u64::MAX, 10_000)]
    {
        assert_eq!(weight_of_shares(shares), weight, "{shares}");
    }
}

fn unlimited(text: &str) -> i64 {
    text.parse().ok().filter(|n| *n >= 0).unwrap_or(i64::MAX)
}

proptest! {
    #[test]
    fn more_shares_never_weigh_less(a in 0_u64..300_000, b in 0_u64..300_000) {
        let (less, more) = (a.min(b), a.max(b));
        prop_assert!(weight_of_shares(less) <= weight_of_shares(more));
        prop_assert!((1..=10_000).contains(&weight_of_shares(a)));
    }

    /// What the kernel checks at each write: memory never above memory and swap together.
    #[test]
    fn memory_never_exceeds_its_sum_with_swap_between_the_writes(
        old_memory in 1_i64..1000, old_more in 0_i64..1000, memory in 1_i64..1000, more in 0_i64..1000,
    ) {
        let limits = |memory, more| Limits {
            memory_bytes_max: Some(memory), memory_swap_bytes_max: Some(memory + more), ..Limits::default()
        };
        let (mut now, mut both) = (old_memory, old_memory + old_more);
        for write in change(&layout(Mode::V1), &limits(old_memory, old_more), &limits(memory, more)).unwrap() {
            match write.file.as_str() {
                "memory.limit_in_bytes" => now = unlimited(&write.value),
                other => { prop_assert_eq!(other, "memory.memsw.limit_in_bytes"); both = unlimited(&write.value) }
            }
            prop_assert!(now <= both);
        }
        prop_assert_eq!((now, both), (memory, memory + more));
    }

    #[test]
    fn cpu_ratio_never_exceeds_both_old_and_new_between_the_writes(
        old_quota in 1_i64..1000, old_period in 1_u64..1000, quota in 1_i64..1000, period in 1_u64..1000,
    ) {
        let limits = |quota, period| Limits { cpu_quota_us: Some(quota), cpu_period_us: Some(period), ..Limits::default() };
        // a/b <= c/d as a*d <= c*b.
        let (mut q, mut p) = (old_quota as u64, old_period);
        for write in change(&layout(Mode::V1), &limits(old_quota, old_period), &limits(quota, period)).unwrap() {
            let value: u64 = write.value.parse().unwrap();
            if write.file == "cpu.cfs_quota_us" { q = value } else { p = value }
            prop_assert!(q * old_period <= old_quota as u64 * p || q * period <= quota as u64 * p);
        }
    }
}
