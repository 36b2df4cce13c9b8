//! What a container may use.

use super::Result;
use crate::dto::host_config::Limits;
use crate::http::error::ApiError;
use orlop_model::container::Resources;

/// Least memory that a program gets started in.
const MEMORY_BYTES_MIN: i64 = 6 << 20;
/// Length of the period in which a share of processors is counted, microseconds.
const PERIOD_US: i64 = 100_000;
const PERIOD_US_RANGE: std::ops::RangeInclusive<i64> = 1_000..=1_000_000;
const QUOTA_US_MIN: i64 = 1_000;
const NANO: i64 = 1_000_000_000;

/// Fills in what is implied: as much swap as memory.
pub(crate) fn complete(limits: &mut Limits) {
    if limits.memory > 0 && limits.memory_swap == 0 {
        limits.memory_swap = limits.memory.saturating_mul(2);
    }
    limits.memory_swappiness = limits.memory_swappiness.filter(|swappiness| *swappiness != -1);
}

/// Checks limits of a new container.
pub(crate) fn resources(limits: &Limits, oom_score_adj: i64, cpus: usize) -> Result<Resources> {
    check_memory(limits)?;
    let (period, quota) = processors(limits, cpus)?;
    let bad_score =
        |_| ApiError::bad(format!("Invalid value {oom_score_adj}, range for oom score adj is [-1000, 1000]"));
    let score = i16::try_from(oom_score_adj).map_err(bad_score)?;
    if !(-1000..=1000).contains(&score) {
        return Err(ApiError::bad(format!("Invalid value {score}, range for oom score adj is [-1000, 1000]")));
    }
    Ok(Resources {
        cpu_period_us: natural("CpuPeriod", period)?,
        cpu_quota_us: quota,
        cpu_shares: natural("CpuShares", limits.cpu_shares)?,
        memory_bytes_max: limits.memory,
        memory_swap_bytes_max: limits.memory_swap,
        memory_reservation_bytes: limits.memory_reservation,
        memory_swappiness: swappiness(limits)?,
        cpuset_cpus: cpuset("cpus", &limits.cpuset_cpus)?,
        cpuset_mems: cpuset("memory", &limits.cpuset_mems)?,
        pids_max: match limits.pids_limit {
            None | Some(0) => 0,
            Some(count) => count.max(-1),
        },
        oom_score_adj: Some(score),
        ..Resources::default()
    })
}

/// Returns a change: what is 0 or empty stays as it is. `before` is what was asked for so far.
pub(crate) fn change(asked: &Limits, before: &Limits, cpus: usize) -> Result<(Resources, Limits)> {
    let mut after = before.clone();
    let or = |new: i64, old: i64| if new == 0 { old } else { new };
    let or_text = |new: &str, old: &str| if new.is_empty() { old.to_owned() } else { new.to_owned() };
    after.memory = or(asked.memory, before.memory);
    after.memory_swap = or(asked.memory_swap, before.memory_swap);
    after.memory_reservation = or(asked.memory_reservation, before.memory_reservation);
    if asked.memory > 0 && asked.memory_swap == 0 && before.memory_swap > 0 && asked.memory > before.memory_swap {
        return Err(ApiError::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    if asked.nano_cpus > 0 && (before.cpu_period > 0 || before.cpu_quota > 0) {
        return Err(ApiError::conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period or Quota has already been set",
        ));
    }
    if before.nano_cpus > 0 && (asked.cpu_period > 0 || asked.cpu_quota > 0) {
        return Err(ApiError::conflict(
            "Conflicting options: CPU Period or Quota cannot be updated as NanoCPUs has already been set",
        ));
    }
    after.nano_cpus = or(asked.nano_cpus, before.nano_cpus);
    after.cpu_period = or(asked.cpu_period, before.cpu_period);
    after.cpu_quota = or(asked.cpu_quota, before.cpu_quota);
    after.cpu_shares = or(asked.cpu_shares, before.cpu_shares);
    after.cpuset_cpus = or_text(&asked.cpuset_cpus, &before.cpuset_cpus);
    after.cpuset_mems = or_text(&asked.cpuset_mems, &before.cpuset_mems);
    // Nothing said leaves it; nothing wanted is said with 0 or -1.
    after.pids_limit = asked.pids_limit.or(before.pids_limit);
    let mut change = resources(&after, 0, cpus)?;
    change.oom_score_adj = None;
    if asked.pids_limit.is_some_and(|count| count <= 0) {
        change.pids_max = -1;
    }
    Ok((change, after))
}

fn check_memory(limits: &Limits) -> Result<()> {
    let (memory, swap) = (limits.memory, limits.memory_swap);
    if memory != 0 && memory < MEMORY_BYTES_MIN {
        return Err(ApiError::bad("Minimum memory limit allowed is 6MB"));
    }
    if memory == 0 && swap > 0 {
        return Err(ApiError::bad("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    if swap > 0 && swap < memory {
        return Err(ApiError::bad("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    let reservation = limits.memory_reservation;
    if reservation != 0 && reservation < MEMORY_BYTES_MIN {
        return Err(ApiError::bad("Minimum memory reservation allowed is 6MB"));
    }
    if memory > 0 && memory < reservation {
        return Err(ApiError::bad("Minimum memory limit can not be less than memory reservation limit, see usage"));
    }
    if swap < -1 {
        return Err(ApiError::bad(format!("MemorySwap: {swap} is no limit; -1 is unlimited")));
    }
    Ok(())
}

fn swappiness(limits: &Limits) -> Result<Option<u8>> {
    let Some(number) = limits.memory_swappiness else { return Ok(None) };
    match u8::try_from(number) {
        Ok(number @ 0..=100) => Ok(Some(number)),
        Ok(_) | Err(_) => {
            Err(ApiError::bad(format!("Invalid value: {number}, valid memory swappiness range is 0-100")))
        }
    }
}

/// Returns period and quota, microseconds.
fn processors(limits: &Limits, cpus: usize) -> Result<(i64, i64)> {
    let (nano, period, quota) = (limits.nano_cpus, limits.cpu_period, limits.cpu_quota);
    if nano != 0 && period != 0 {
        return Err(ApiError::bad("Conflicting options: Nano CPUs and CPU Period cannot both be set"));
    }
    if nano != 0 && quota != 0 {
        return Err(ApiError::bad("Conflicting options: Nano CPUs and CPU Quota cannot both be set"));
    }
    let there = i64::try_from(cpus).unwrap_or(i64::MAX / NANO);
    if nano != 0 && !(NANO / 100..=there * NANO).contains(&nano) {
        return Err(ApiError::bad(format!(
            "range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available"
        )));
    }
    if nano != 0 {
        return Ok((PERIOD_US, nano / (NANO / PERIOD_US)));
    }
    if period != 0 && !PERIOD_US_RANGE.contains(&period) {
        return Err(ApiError::bad(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if quota > 0 && quota < QUOTA_US_MIN {
        return Err(ApiError::bad("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    Ok((period, quota.max(-1)))
}

fn natural(name: &str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| ApiError::bad(format!("{name}: {number} is below zero")))
}

/// Lists of numbers and ranges, `0-3,7`; cpuset(7).
fn cpuset(what: &str, text: &str) -> Result<String> {
    let number = |text: &str| text.parse::<u16>().ok();
    let good = |part: &str| match part.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
        None => number(part).is_some(),
    };
    if !text.is_empty() && !text.split(',').all(good) {
        return Err(ApiError::bad(format!("Invalid value {text} for cpuset {what}")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(limits: Limits, says: &str) {
        let error = resources(&limits, 0, 2).unwrap_err();
        assert!(error.message().contains(says), "{}", error.message());
    }

    #[test]
    fn limits_become_those_of_the_engine() {
        let mut limits = Limits {
            memory: 64 << 20,
            nano_cpus: 1_500_000_000,
            pids_limit: Some(9),
            memory_swappiness: Some(-1),
            memory_reservation: 32 << 20,
            ..Limits::default()
        };
        complete(&mut limits);
        let resources = resources(&limits, -5, 2).unwrap();
        assert_eq!((resources.memory_bytes_max, resources.memory_swap_bytes_max), (64 << 20, 128 << 20));
        assert_eq!((resources.cpu_period_us, resources.cpu_quota_us, resources.pids_max), (100_000, 150_000, 9));
        assert_eq!(resources.oom_score_adj, Some(-5));
        assert_eq!((resources.memory_reservation_bytes, resources.memory_swappiness), (32 << 20, None));
    }

    #[test]
    fn limits_that_can_not_be_are_refused() {
        let of = Limits::default;
        refused(Limits { memory: 1024, ..of() }, "Minimum memory limit allowed is 6MB");
        refused(Limits { memory_swap: 1 << 30, ..of() }, "You should always set the Memory limit");
        refused(Limits { memory: 64 << 20, memory_swap: 1 << 20, ..of() }, "Minimum memoryswap limit");
        refused(Limits { memory_reservation: 1, ..of() }, "Minimum memory reservation");
        refused(Limits { memory: 8 << 20, memory_reservation: 9 << 20, ..of() }, "less than memory reservation");
        refused(Limits { memory_swappiness: Some(101), ..of() }, "valid memory swappiness range");
        refused(Limits { nano_cpus: 3 * NANO, ..of() }, "range of CPUs is from 0.01 to 2.00");
        refused(Limits { nano_cpus: NANO, cpu_quota: 5000, ..of() }, "CPU Quota cannot both be set");
        refused(Limits { cpu_period: 10, ..of() }, "CPU cfs period");
        refused(Limits { cpu_quota: 10, ..of() }, "CPU cfs quota");
        refused(Limits { cpu_shares: -1, ..of() }, "CpuShares");
        refused(Limits { cpuset_cpus: "x".into(), ..of() }, "Invalid value x for cpuset cpus");
        assert!(resources(&of(), 1001, 2).is_err());
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let before = Limits { memory: 64 << 20, memory_swap: 128 << 20, cpu_shares: 512, ..Limits::default() };
        let (resources, after) = change(&Limits { cpu_shares: 256, ..Limits::default() }, &before, 2).unwrap();
        assert_eq!((resources.cpu_shares, resources.memory_bytes_max), (256, 64 << 20));
        assert_eq!(after, Limits { cpu_shares: 256, ..before.clone() });
        let refused = change(&Limits { memory: 256 << 20, ..Limits::default() }, &before, 2).unwrap_err();
        assert!(refused.message().starts_with("Memory limit should be smaller than already set memoryswap"));
    }
}
