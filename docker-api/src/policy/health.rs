//! When a container's health is looked at, and what follows from what was seen. Pure.

use orlop_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Results kept.
const RESULTS_MAX: usize = 5;
/// Bytes kept of what one look wrote.
pub(crate) const OUTPUT_BYTES_MAX: usize = 4096;

/// How a container's health is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Pause between two looks.
    pub(crate) interval: Duration,
    /// How long one may take.
    pub(crate) timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub(crate) retries: u32,
    /// How long after its start failures do not count.
    pub(crate) start_period: Duration,
    /// Pause between two looks during that time.
    pub(crate) start_interval: Duration,
}

/// What was seen of the health of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HealthLog {
    /// When the run began that this is of.
    pub(crate) run: Timestamp,
    /// What follows.
    pub(crate) status: Status,
    /// Failures in a row that count.
    pub(crate) failing_streak: u32,
    /// The last results, oldest first.
    pub(crate) results: Vec<Probe>,
}

/// Whether a container is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    /// Not known yet.
    #[default]
    Starting,
    /// It is.
    Healthy,
    /// It is not.
    Unhealthy,
}

/// What one look saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// When it began.
    pub(crate) began: Timestamp,
    /// When it ended.
    pub(crate) ended: Timestamp,
    /// Exit status; -1 when it could not be run, or took too long.
    pub(crate) exit_code: i32,
    /// What it wrote, cut off.
    pub(crate) output: String,
}

// === impl HealthLog ===

impl HealthLog {
    /// Returns what was seen of the run that began then: nothing yet, when this is of another one.
    pub(crate) fn of_run(&self, started: Timestamp) -> Self {
        if self.run == started { self.clone() } else { Self { run: started, ..Self::default() } }
    }

    /// Returns when the run is to be looked at next.
    pub(crate) fn due(&self, check: &HealthCheck, started: Timestamp) -> Timestamp {
        let log = self.of_run(started);
        let last = log.results.last().map_or(started, |probe| probe.ended);
        let is_starting = log.status == Status::Starting && last.since(started) < check.start_period;
        last.plus(if is_starting { check.start_interval } else { check.interval })
    }

    /// Returns what follows from another look at the run.
    pub(crate) fn heard(&self, check: &HealthCheck, started: Timestamp, probe: Probe) -> Self {
        let mut log = self.of_run(started);
        let excused = log.status == Status::Starting && probe.began.since(started) < check.start_period;
        if probe.exit_code == 0 {
            (log.status, log.failing_streak) = (Status::Healthy, 0);
        } else if !excused {
            log.failing_streak = log.failing_streak.saturating_add(1);
            if log.failing_streak >= check.retries {
                log.status = Status::Unhealthy;
            }
        }
        let over = (log.results.len() + 1).saturating_sub(RESULTS_MAX);
        log.results.drain(..over);
        log.results.push(probe);
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(1_000_000_000);

    fn check() -> HealthCheck {
        HealthCheck {
            command: vec!["look".to_owned()],
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            retries: 3,
            start_period: Duration::from_secs(20),
            start_interval: Duration::from_secs(5),
        }
    }

    fn probe(second: u64, exit_code: i32) -> Probe {
        let at = T0.plus(Duration::from_secs(second));
        Probe { began: at, ended: at, exit_code, output: format!("at {second}") }
    }

    /// Lets looks happen when they are due; returns after how many seconds each was, and what followed.
    fn lives(check: &HealthCheck, exits: &[i32]) -> Vec<(u64, Status)> {
        let mut log = HealthLog::default();
        let look = |exit: &i32| {
            let second = log.due(check, T0).since(T0).as_secs();
            log = log.heard(check, T0, probe(second, *exit));
            (second, log.status)
        };
        exits.iter().map(look).collect()
    }

    #[test]
    fn failures_count_after_the_start_period_and_the_last_of_them_in_a_row_decides() {
        use Status::{Healthy, Starting, Unhealthy};
        let expected = [(5, Starting), (10, Starting), (15, Starting), (20, Starting), (50, Starting), (80, Unhealthy)];
        assert_eq!(lives(&check(), &[1, 1, 1, 1, 1, 1]), expected);
        assert_eq!(
            lives(&check(), &[1, 0, 1, 1, 0]),
            [(5, Starting), (10, Healthy), (40, Healthy), (70, Healthy), (100, Healthy)]
        );
        let no_period = HealthCheck { start_period: Duration::ZERO, ..check() };
        assert_eq!(lives(&no_period, &[1, 1, 1, 0]), [(30, Starting), (60, Starting), (90, Unhealthy), (120, Healthy)]);
    }

    #[test]
    fn the_last_five_results_are_kept_and_another_run_begins_anew() {
        let mut log = HealthLog::default();
        for second in 0..7 {
            log = log.heard(&check(), T0, probe(100 + second, 1));
        }
        let kept: Vec<_> = log.results.iter().map(|probe| probe.output.as_str()).collect();
        assert_eq!(kept, ["at 102", "at 103", "at 104", "at 105", "at 106"]);
        assert_eq!((log.status, log.failing_streak), (Status::Unhealthy, 7));
        let later = T0.plus(Duration::from_secs(500));
        assert_eq!(log.of_run(later), HealthLog { run: later, ..HealthLog::default() });
        assert_eq!(log.due(&check(), later), later.plus(Duration::from_secs(5)));
    }
}
