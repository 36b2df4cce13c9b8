//! What was measured: durations by operation and side, and the figures drawn from them. Pure.

use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// One thing for each of the two sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair<T> {
    /// Of orlop.
    pub ours: T,
    /// Of the peer.
    pub theirs: T,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// orlop.
    Ours,
    /// The peer.
    Theirs,
}

impl Who {
    /// Returns the name of a side, as messages say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "orlop",
            Self::Theirs => "containerd",
        }
    }
}

impl<T> Pair<T> {
    /// Returns the one of a side.
    pub fn of(&mut self, who: Who) -> &mut T {
        match who {
            Who::Ours => &mut self.ours,
            Who::Theirs => &mut self.theirs,
        }
    }
}

/// What is timed, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// One call.
    RunPodSandbox,
    /// One call.
    CreateContainer,
    /// One call.
    StartContainer,
    /// The two calls of one container, added up; a gap between them doesn't count.
    CreateAndStart,
    /// One call: the program is `true`.
    ExecSync,
    /// One call: the process obeys SIGTERM.
    StopContainer,
    /// One call.
    RemoveContainer,
    /// One call: the pod has no container any more.
    StopPodSandbox,
    /// One call.
    RemovePodSandbox,
    /// One call: nothing of the image is there.
    PullImage,
    /// One call.
    RemoveImage,
}

impl Operation {
    /// Returns its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::RunPodSandbox => "RunPodSandbox",
            Self::CreateContainer => "CreateContainer",
            Self::StartContainer => "StartContainer",
            Self::CreateAndStart => "CreateContainer+StartContainer",
            Self::ExecSync => "ExecSync",
            Self::StopContainer => "StopContainer",
            Self::RemoveContainer => "RemoveContainer",
            Self::StopPodSandbox => "StopPodSandbox",
            Self::RemovePodSandbox => "RemovePodSandbox",
            Self::PullImage => "PullImage",
            Self::RemoveImage => "RemoveImage",
        }
    }
}

/// All samples of a run.
#[derive(Debug, Default)]
pub struct Samples {
    took: BTreeMap<Operation, Pair<Vec<Duration>>>,
}

/// The figures of one operation, as `--json` prints them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Which.
    pub op: String,
    /// Pause before each call.
    pub gap_ms: u64,
    /// Median of ours.
    pub ours_ms: f64,
    /// Median of the peer's.
    pub theirs_ms: f64,
    /// Theirs divided by ours: how many times as fast ours is.
    pub ratio: f64,
    /// Nine in ten of ours took at most this.
    pub ours_p90_ms: f64,
    /// The same of the peer's.
    pub theirs_p90_ms: f64,
    /// How many samples the smaller side has.
    pub samples: usize,
}

// === impl Samples ===

impl Samples {
    /// Adds one.
    pub fn add(&mut self, operation: Operation, who: Who, took: Duration) {
        self.took.entry(operation).or_default().of(who).push(took);
    }

    /// Returns the figures of every operation that both sides have done.
    pub fn figures(&self, gap_ms: u64) -> Vec<Figure> {
        let both = self.took.iter().filter(|(_, pair)| !pair.ours.is_empty() && !pair.theirs.is_empty());
        both.map(|(operation, pair)| figure(operation.name(), gap_ms, pair)).collect()
    }
}

/// Makes the figures of some durations.
pub fn figure(op: &str, gap_ms: u64, pair: &Pair<Vec<Duration>>) -> Figure {
    let (ours_ms, theirs_ms) = (quantile_ms(&pair.ours, 50), quantile_ms(&pair.theirs, 50));
    Figure {
        op: op.to_owned(),
        gap_ms,
        ours_ms,
        theirs_ms,
        // Of the figures as printed, so that a reader who divides them gets the same.
        ratio: rounded(theirs_ms / ours_ms, 100.0),
        ours_p90_ms: quantile_ms(&pair.ours, 90),
        theirs_p90_ms: quantile_ms(&pair.theirs, 90),
        samples: pair.ours.len().min(pair.theirs.len()),
    }
}

/// Returns the duration that `percent` of the samples don't exceed: the median is the mean of the middle two.
fn quantile_ms(took: &[Duration], percent: usize) -> f64 {
    let mut sorted: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    let even_middle = percent == 50 && sorted.len().is_multiple_of(2);
    let value = if even_middle { f64::midpoint(at(rank - 1), at(rank)) } else { at(rank - 1) };
    rounded(value, 1000.0)
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn median_and_p90_are_those_of_the_sorted_samples() {
        for (values, median, p90) in [
            (&[7][..], 7.0, 7.0),
            (&[3, 1, 2], 2.0, 3.0),
            (&[4, 1, 3, 2], 2.5, 4.0),
            (&[10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 5.5, 9.0),
        ] {
            assert_eq!((quantile_ms(&ms(values), 50), quantile_ms(&ms(values), 90)), (median, p90), "{values:?}");
        }
    }

    #[test]
    fn ratio_is_theirs_by_ours_and_below_one_when_the_peer_is_faster() {
        let mut samples = Samples::default();
        for (operation, ours, theirs) in
            [(Operation::RunPodSandbox, 8, 64), (Operation::PullImage, 500, 400), (Operation::RemoveImage, 4, 4)]
        {
            samples.add(operation, Who::Ours, Duration::from_millis(ours));
            samples.add(operation, Who::Theirs, Duration::from_millis(theirs));
        }
        // Done by one side only: nothing to compare.
        samples.add(Operation::ExecSync, Who::Ours, Duration::from_millis(1));
        let figures = samples.figures(0);
        let ratios: Vec<_> = figures.iter().map(|figure| (figure.op.as_str(), figure.ratio)).collect();
        assert_eq!(ratios, [("RunPodSandbox", 8.0), ("PullImage", 0.8), ("RemoveImage", 1.0)]);
    }

    #[test]
    fn json_line_begins_as_promised() {
        let pair = Pair { ours: ms(&[2]), theirs: ms(&[5]) };
        let line = serde_json::to_string(&figure("RunPodSandbox", 1000, &pair)).unwrap();
        let begins = r#"{"op":"RunPodSandbox","gap_ms":1000,"ours_ms":2.0,"theirs_ms":5.0,"ratio":2.5,"#;
        assert!(line.starts_with(begins), "{line}");
    }
}
