//! Limits of a container, both ways.

use super::path::without_nul;
use super::{Refused, Result, quoted};
use crate::proto::{HugepageLimit, LinuxContainerResources as Asked};
use orlop_model::container::Resources;
use std::collections::BTreeMap;

/// Checks limits, which are in the field `at` of the request. Absent limits are all the defaults.
pub(crate) fn resources(at: &str, asked: Option<&Asked>) -> Result<Resources> {
    match asked {
        Some(asked) => limits(asked).map_err(|wrong| wrong.below(at)),
        None => Ok(Resources::default()),
    }
}

fn limits(asked: &Asked) -> Result<Resources> {
    let (memory, swap) = (asked.memory_limit_in_bytes, asked.memory_swap_limit_in_bytes);
    if memory > 0 && swap > 0 && swap < memory {
        let problem = format!("{swap} is memory and swap together, so it can't be below the {memory} of memory alone");
        return Err(Refused::invalid("memory_swap_limit_in_bytes", problem));
    }
    Ok(Resources {
        version: 0,
        cpu_period_us: natural("cpu_period", asked.cpu_period)?,
        cpu_quota_us: or_unlimited("cpu_quota", asked.cpu_quota)?,
        cpu_shares: natural("cpu_shares", asked.cpu_shares)?,
        memory_bytes_max: or_unlimited("memory_limit_in_bytes", memory)?,
        memory_swap_bytes_max: or_unlimited("memory_swap_limit_in_bytes", swap)?,
        memory_reservation_bytes: 0,
        memory_swappiness: None,
        cpuset_cpus: cpuset("cpuset_cpus", &asked.cpuset_cpus)?,
        cpuset_mems: cpuset("cpuset_mems", &asked.cpuset_mems)?,
        pids_max: 0,
        hugepage_bytes_max: hugepages(&asked.hugepage_limits)?,
        unified: unified(&asked.unified)?,
        oom_score_adj: Some(oom_score_adj(asked.oom_score_adj)?),
    })
}

/// Returns limits as a status shows them.
pub(crate) fn shown(resources: &Resources) -> Asked {
    let hugepages = resources.hugepage_bytes_max.iter();
    Asked {
        cpu_period: resources.cpu_period_us.cast_signed(),
        cpu_quota: resources.cpu_quota_us,
        cpu_shares: resources.cpu_shares.cast_signed(),
        memory_limit_in_bytes: resources.memory_bytes_max,
        oom_score_adj: resources.oom_score_adj.map_or(0, i64::from),
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        hugepage_limits: hugepages.map(|(size, &limit)| HugepageLimit { page_size: size.clone(), limit }).collect(),
        unified: resources.unified.clone(),
        memory_swap_limit_in_bytes: resources.memory_swap_bytes_max,
    }
}

fn invalid(name: &str, problem: String) -> Refused {
    Refused::invalid(name, problem)
}

fn natural(name: &str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| invalid(name, format!("{number} is below zero")))
}

fn or_unlimited(name: &str, number: i64) -> Result<i64> {
    if number < -1 {
        return Err(invalid(name, format!("{number} is no limit; use -1 for unlimited")));
    }
    Ok(number)
}

/// The kernel's own range; proc(5).
fn oom_score_adj(number: i64) -> Result<i16> {
    match i16::try_from(number) {
        Ok(score) if (-1000..=1000).contains(&score) => Ok(score),
        Ok(_) | Err(_) => Err(invalid("oom_score_adj", format!("{number} is not between -1000 and 1000"))),
    }
}

/// Lists of numbers and ranges, `0-3,7`; cpuset(7).
fn cpuset(name: &str, text: &str) -> Result<String> {
    let number = |text: &str| text.parse::<u16>().ok();
    let good = |part: &str| match part.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
        None => number(part).is_some(),
    };
    if !text.is_empty() && !text.split(',').all(good) {
        return Err(invalid(name, format!("{} is not a list like 0-3,7", quoted(text))));
    }
    Ok(text.to_owned())
}

/// The kubelet sends a limit of 0 for every page size of the node, so 0 is kept like any other.
fn hugepages(asked: &[HugepageLimit]) -> Result<BTreeMap<String, u64>> {
    let mut limits = BTreeMap::new();
    for HugepageLimit { page_size, limit } in asked {
        let digits = ["KB", "MB", "GB"].iter().find_map(|unit| page_size.strip_suffix(unit)).unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid("hugepage_limits", format!("{} is not a page size like 2MB", quoted(page_size))));
        }
        if limits.insert(page_size.clone(), *limit).is_some() {
            return Err(invalid("hugepage_limits", format!("{page_size} is given twice")));
        }
    }
    Ok(limits)
}

/// Names of cgroup files: `memory.high`. They are joined to a path later.
fn unified(asked: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    for (name, value) in asked {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !name.contains('.') || name.contains("..") || name.starts_with('.') || !name.chars().all(good) {
            return Err(invalid("unified", format!("{} is not a cgroup file like memory.high", quoted(name))));
        }
        without_nul(format!("unified[{name}]"), value)?;
    }
    Ok(asked.clone())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;
    use proptest::prelude::*;

    #[test]
    fn nothing_asked_for_is_all_defaults() {
        assert_eq!(resources("r", None).unwrap(), Resources::default());
        assert_eq!(resources("r", Some(&Asked::default())).unwrap().oom_score_adj, Some(0));
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Asked), says: &[&str]) {
        let mut asked = Asked::default();
        change(&mut asked);
        check_refused(resources("linux.resources", Some(&asked)), InvalidArgument, says);
        check_refused(resources("at", Some(&asked)), InvalidArgument, &["at."]);
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        check(|r| r.oom_score_adj = 1001, &["oom_score_adj", "1001"]);
        check(|r| r.oom_score_adj = i64::MIN, &["oom_score_adj"]);
        check(|r| r.cpu_period = -1, &["cpu_period"]);
        check(|r| r.cpu_shares = -2, &["cpu_shares"]);
        check(|r| r.cpu_quota = -2, &["cpu_quota", "unlimited"]);
        check(|r| r.memory_limit_in_bytes = -5, &["memory_limit_in_bytes"]);
        check(|r| (r.memory_limit_in_bytes, r.memory_swap_limit_in_bytes) = (20, 10), &["memory_swap", "together"]);
        for bad in ["a", "1-", "3-1", "1,,2", "1 2", "70000"] {
            check(|r| r.cpuset_cpus = bad.into(), &["cpuset_cpus", "list"]);
        }
        for bad in ["", "2", "MB", "2mb", "../2MB"] {
            check(
                |r| r.hugepage_limits = vec![HugepageLimit { page_size: bad.into(), limit: 0 }],
                &["hugepage_limits", "page size"],
            );
        }
        let twice = vec![HugepageLimit { page_size: "2MB".into(), limit: 0 }; 2];
        check(|r| r.hugepage_limits = twice, &["hugepage_limits", "twice"]);
        for bad in ["", "memory", "../memory.high", "a..b", "memory/high.x", ".a"] {
            check(|r| drop(r.unified.insert(bad.into(), "1".into())), &["unified", "cgroup file"]);
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_shown_as_it_was_asked_for(
            cpu in (0i64..1_000_000, -1i64..1_000_000, 0i64..300_000),
            memory in (-1i64..1 << 40, -1i64..2),
            oom_score_adj in -1000i64..=1000,
            cpus in "([0-9]{1,3}(,[0-9]{1,2})?)?",
            limit: u64,
        ) {
            let asked = Asked {
                cpu_period: cpu.0,
                cpu_quota: cpu.1,
                cpu_shares: cpu.2,
                memory_limit_in_bytes: memory.0,
                memory_swap_limit_in_bytes: if memory.1 > 0 { memory.0 + 1 } else { memory.1 },
                oom_score_adj,
                cpuset_cpus: cpus.clone(),
                cpuset_mems: cpus,
                hugepage_limits: vec![HugepageLimit { page_size: "2MB".into(), limit }],
                unified: [("memory.high".to_owned(), "max".to_owned())].into(),
            };
            prop_assert_eq!(shown(&resources("r", Some(&asked)).unwrap()), asked);
        }
    }
}
