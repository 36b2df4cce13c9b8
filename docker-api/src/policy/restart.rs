//! When a container that has ended is started again. Pure.

use super::kept::{Kept, Wanted};
use orlop_model::Timestamp;
use orlop_model::container_state::{Ended, Exit};
use std::time::Duration;

/// Pause before the first restart; it doubles with each that follows a short run.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before a restart.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A run of this length was no short one: the next pause is the first again.
const RAN_WELL: Duration = Duration::from_secs(10);

/// When a container is started again after its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Never.
    #[default]
    No,
    /// Whenever it ends; once its user has stopped it, when the daemon starts.
    Always,
    /// Whenever it ends, unless its user has stopped it.
    UnlessStopped,
    /// When it fails.
    OnFailure {
        /// At most so often; 0 is without bound.
        max: u32,
    },
}

/// Returns when a container that has ended is to be started again; `None` when it is not.
pub(crate) fn again(rule: Restart, kept: &Kept, ended: &Ended) -> Option<Timestamp> {
    if kept.wanted != Wanted::Run {
        return None;
    }
    let failed = match &ended.exit {
        // Its user was told that it can't be started; only what ran once is tried on.
        Exit::NeverStarted { .. } | Exit::Unstarted if kept.restarts == 0 => return None,
        Exit::Code { code, .. } => *code != 0,
        // What nobody saw, such as the end of the node, was no success.
        Exit::Signal { .. } | Exit::NeverStarted { .. } | Exit::Unstarted | Exit::Unknown => true,
    };
    let wanted = match rule {
        Restart::No => false,
        Restart::Always | Restart::UnlessStopped => true,
        Restart::OnFailure { max } => failed && (max == 0 || kept.restarts < max),
    };
    wanted.then(|| ended.finished.plus(pause(streak(kept, ended))))
}

/// Returns what is kept once it is started again after this end.
pub(crate) fn counted(kept: &Kept, ended: Option<&Ended>) -> Kept {
    let streak = ended.map_or(kept.streak, |ended| streak(kept, ended));
    Kept { restarts: kept.restarts.saturating_add(1), streak: streak.saturating_add(1), ..kept.clone() }
}

/// Returns what is kept when the daemon starts, where that makes a difference: a stop does not outlast it under `always`.
pub(crate) fn daemon_starts(rule: Restart, kept: &Kept) -> Option<Kept> {
    match rule {
        Restart::Always if kept.wanted == Wanted::Stop => Some(kept.started()),
        Restart::Always | Restart::No | Restart::UnlessStopped | Restart::OnFailure { .. } => None,
    }
}

/// Returns the pause after so many short runs.
pub(crate) fn pause(streak: u32) -> Duration {
    // More doublings than it takes to reach the longest pause.
    PAUSE.saturating_mul(1 << streak.min(16)).min(PAUSE_MAX)
}

fn streak(kept: &Kept, ended: &Ended) -> u32 {
    let ran = ended.started.map_or(Duration::ZERO, |started| ended.finished.since(started));
    if ran >= RAN_WELL { 0 } else { kept.streak }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(0);

    fn kept(wanted: Wanted, restarts: u32, streak: u32) -> Kept {
        Kept { wanted, restarts, streak, ..Kept::default() }
    }

    fn ran(seconds: u64, exit: Exit) -> Ended {
        Ended { started: Some(T0), finished: T0.plus(Duration::from_secs(seconds)), exit }
    }

    fn code(code: u8) -> Exit {
        Exit::Code { code, oom: false }
    }

    #[test]
    fn a_rule_decides_with_what_the_user_wanted_and_how_it_ended() {
        use Restart::{Always, No, OnFailure, UnlessStopped};
        use Wanted::{Nothing, Run, Stop};
        let three = OnFailure { max: 3 };
        for (rule, kept, exit, expected) in [
            (No, kept(Run, 0, 0), code(1), false),
            (Always, kept(Run, 0, 0), code(0), true),
            (Always, kept(Stop, 0, 0), code(0), false),
            (Always, kept(Nothing, 0, 0), Exit::Unknown, false),
            (UnlessStopped, kept(Run, 9, 0), code(0), true),
            (UnlessStopped, kept(Stop, 0, 0), code(0), false),
            (OnFailure { max: 0 }, kept(Run, 99, 0), code(1), true),
            (three, kept(Run, 0, 0), code(0), false),
            (three, kept(Run, 2, 0), code(1), true),
            (three, kept(Run, 3, 0), code(1), false),
            (three, kept(Run, 0, 0), Exit::Signal { signal: 11, oom: false }, true),
            // The node ended under it.
            (three, kept(Run, 0, 0), Exit::Unknown, true),
            (Always, kept(Run, 0, 0), Exit::NeverStarted { code: 127, message: String::new() }, false),
            (Always, kept(Run, 1, 0), Exit::NeverStarted { code: 128, message: String::new() }, true),
        ] {
            assert_eq!(again(rule, &kept, &ran(1, exit.clone())).is_some(), expected, "{rule:?} {kept:?} {exit:?}");
        }
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_a_long_run_resets_it() {
        let mut kept = kept(Wanted::Run, 0, 0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let ended = ran(1, code(1));
            let at = again(Restart::Always, &kept, &ended).unwrap();
            pauses.push(at.since(ended.finished).as_millis());
            kept = counted(&kept, Some(&ended));
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        let ended = ran(10, code(1));
        assert_eq!(again(Restart::Always, &kept, &ended).unwrap().since(ended.finished), PAUSE);
        assert_eq!((counted(&kept, Some(&ended)).streak, counted(&kept, Some(&ended)).restarts), (1, 13));
    }

    #[test]
    fn a_stop_outlasts_the_daemon_but_under_always() {
        let stopped = kept(Wanted::Stop, 3, 2);
        assert_eq!(daemon_starts(Restart::Always, &stopped).unwrap().wanted, Wanted::Run);
        for rule in [Restart::UnlessStopped, Restart::No, Restart::OnFailure { max: 0 }] {
            assert_eq!(daemon_starts(rule, &stopped), None);
        }
        assert_eq!(daemon_starts(Restart::Always, &kept(Wanted::Nothing, 0, 0)), None);
    }
}
