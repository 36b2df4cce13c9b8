//! What a suite is known to do here: which specs pass, and why the others don't. Judging is pure.
//!
//! One rule: a spec may change to passed, and in no other way. One that passed and now fails, is skipped or is not there any
//! more is worse, and so is a known failure that isn't even tried any more.

use crate::report::{Report, Spec, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// Reasons of specs that were not chosen and have none of their own in the report: words of their names, and the reason.
pub type Reasons = [(&'static str, &'static str)];

/// The baseline as it is stored: every spec in one of three lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// How long the lists are, for a reader of the diff.
    pub counts: Counts,
    /// Specs that pass.
    pub passed: BTreeSet<String>,
    /// Specs that fail, each with the reason.
    pub failed: BTreeMap<String, String>,
    /// Specs that are not tried, each with the reason.
    pub skipped: BTreeMap<String, String>,
}

/// How many specs ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Skipped.
    pub skipped: usize,
}

/// Which specs of a report are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All: those of the baseline must be there.
    All,
    /// A person chose some: only those that ran.
    Ran,
}

/// What a report is against a baseline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Specs that changed in another way than to passed.
    pub worse: Vec<Worse>,
    /// Specs that pass now and are not known to.
    pub better: Vec<String>,
}

/// One spec that got worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worse {
    /// Its name.
    pub spec: String,
    /// What it is known to do; `None` when it is new.
    pub known: Option<State>,
    /// What it did; `None` when it is missing.
    pub now: Option<State>,
    /// Why.
    pub cause: String,
}

// === impl Counts ===

impl Counts {
    /// Counts a report.
    pub fn of(report: &Report) -> Self {
        let count = |state| report.with(state).count();
        Self { passed: count(State::Passed), failed: count(State::Failed), skipped: count(State::Skipped) }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

// === impl Worse ===

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |state: Option<State>, none| match state {
            Some(State::Passed) => "passed",
            Some(State::Failed) => "failed",
            Some(State::Skipped) => "skipped",
            None => none,
        };
        let (known, now) = (word(self.known, "not in the baseline"), word(self.now, "missing"));
        write!(f, "{}: was {known}, is {now}", self.spec)?;
        if self.cause.is_empty() { Ok(()) } else { write!(f, ": {}", self.cause) }
    }
}

// === impl Baseline ===

impl Baseline {
    /// Reads a baseline and checks that it agrees with itself.
    pub fn parse(json: &str) -> Result<Self, String> {
        let baseline: Self = serde_json::from_str(json).map_err(|e| e.to_string())?;
        if baseline.counts != baseline.lengths() {
            return Err(format!("its counts say {}, but its lists hold {}", baseline.counts, baseline.lengths()));
        }
        let unexplained = baseline.failed.iter().chain(&baseline.skipped).find(|(_, reason)| reason.trim().is_empty());
        match unexplained {
            Some((spec, _)) => Err(format!("it gives no reason for: {spec}")),
            None => Ok(baseline),
        }
    }

    /// Makes the baseline of a report; reasons are what the suite said.
    pub fn of(report: &Report, reasons: &Reasons) -> Self {
        let explained = |state| report.with(state).map(|spec| (spec.name.clone(), reason(spec, reasons))).collect();
        let mut baseline = Self {
            counts: Counts::default(),
            passed: report.with(State::Passed).map(|spec| spec.name.clone()).collect(),
            failed: explained(State::Failed),
            skipped: explained(State::Skipped),
        };
        baseline.counts = baseline.lengths();
        baseline
    }

    /// Returns it as it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers are JSON") + "\n"
    }

    /// Returns the names of all specs.
    #[cfg(test)]
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known().into_keys()
    }

    fn lengths(&self) -> Counts {
        Counts { passed: self.passed.len(), failed: self.failed.len(), skipped: self.skipped.len() }
    }

    fn known(&self) -> BTreeMap<&str, State> {
        let passed = self.passed.iter().map(|spec| (spec.as_str(), State::Passed));
        let failed = self.failed.keys().map(|spec| (spec.as_str(), State::Failed));
        let skipped = self.skipped.keys().map(|spec| (spec.as_str(), State::Skipped));
        passed.chain(failed).chain(skipped).collect()
    }
}

/// A baseline in its file.
#[derive(Debug)]
pub struct Stored {
    path: &'static str,
    baseline: Baseline,
}

/// Whether the baseline is written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bless {
    /// What the specs did becomes the baseline; the diff is reviewed as code.
    Yes,
    /// The report is judged.
    No,
}

// === impl Stored ===

impl Stored {
    /// Reads it. Before a run: one that can't be read should not cost it.
    pub fn read(path: &'static str) -> io::Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| io::Error::other(format!("read {path}: {e}")))?;
        let baseline = Baseline::parse(&text);
        let baseline = baseline.map_err(|why| io::Error::other(format!("{path} is no baseline: {why}")))?;
        Ok(Self { path, baseline })
    }

    /// Tells what changed; returns whether nothing is worse, and something passed.
    pub fn compare(&self, report: &Report, scope: Scope, bless: Bless, reasons: &Reasons) -> io::Result<bool> {
        let judgement = judge(&self.baseline, report, scope);
        for worse in &judgement.worse {
            println!("worse than the baseline: {worse}");
        }
        for spec in &judgement.better {
            println!("better than the baseline: {spec}");
        }
        if bless == Bless::Yes {
            fs::write(Path::new(self.path), Baseline::of(report, reasons).to_json())?;
            return Ok(true);
        }
        if !judgement.better.is_empty() {
            println!("write what is better into the baseline with --bless");
        }
        Ok(judgement.worse.is_empty() && report.with(State::Passed).next().is_some())
    }
}

/// Judges a report against the baseline.
pub fn judge(baseline: &Baseline, report: &Report, scope: Scope) -> Judgement {
    let known = baseline.known();
    let now: BTreeMap<&str, &Spec> = report.specs().iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let mut judgement = Judgement::default();
    for name in known.keys().chain(now.keys()).copied().collect::<BTreeSet<_>>() {
        let (was, spec) = (known.get(name).copied(), now.get(name).copied());
        let is = spec.map(|spec| spec.state);
        let ran = matches!(is, Some(State::Passed | State::Failed));
        if was == is || (scope == Scope::Ran && !ran) {
            continue;
        }
        if is == Some(State::Passed) {
            judgement.better.push(name.to_owned());
        } else {
            let cause = spec.map(|spec| spec.cause.clone()).unwrap_or_default();
            judgement.worse.push(Worse { spec: name.to_owned(), known: was, now: is, cause });
        }
    }
    judgement
}

fn reason(spec: &Spec, reasons: &Reasons) -> String {
    let by_name = reasons.iter().find(|(words, _)| spec.state == State::Skipped && spec.name.contains(words));
    by_name.map_or_else(|| spec.cause.clone(), |(_, reason)| (*reason).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, state: State) -> Spec {
        Spec { name: name.to_owned(), state, cause: String::new() }
    }

    fn baseline(passed: &[&str], failed: &[&str], skipped: &[&str]) -> Baseline {
        let own = |name: &&str| (*name).to_owned();
        let explained = |names: &[&str]| names.iter().map(|name| (own(name), "a reason".to_owned())).collect();
        let mut baseline = Baseline {
            counts: Counts::default(),
            passed: passed.iter().map(own).collect(),
            failed: explained(failed),
            skipped: explained(skipped),
        };
        baseline.counts = baseline.lengths();
        baseline
    }

    /// One spec, known as `known` and found as `now`: whether that is worse, and whether better.
    #[track_caller]
    fn check(known: Option<State>, now: Option<State>, worse: bool, better: bool) {
        let list = |state| if known == Some(state) { &["spec"][..] } else { &[] };
        let baseline = baseline(list(State::Passed), list(State::Failed), list(State::Skipped));
        let report = Report::of(now.map(|state| spec("spec", state)).into_iter().collect());
        let judgement = judge(&baseline, &report, Scope::All);
        assert_eq!((judgement.worse.len(), judgement.better.len()), (worse.into(), better.into()), "{known:?} {now:?}");
    }

    #[test]
    fn a_spec_may_change_to_passed_and_in_no_other_way() {
        use State::{Failed, Passed, Skipped};
        for (known, now, worse, better) in [
            (Some(Passed), Some(Passed), false, false),
            (Some(Passed), Some(Failed), true, false),
            (Some(Passed), Some(Skipped), true, false),
            (Some(Passed), None, true, false),
            (Some(Failed), Some(Passed), false, true),
            (Some(Failed), Some(Failed), false, false),
            (Some(Failed), Some(Skipped), true, false),
            (Some(Failed), None, true, false),
            (Some(Skipped), Some(Passed), false, true),
            (Some(Skipped), Some(Failed), true, false),
            (Some(Skipped), Some(Skipped), false, false),
            (Some(Skipped), None, true, false),
            (None, Some(Passed), false, true),
            (None, Some(Failed), true, false),
            (None, Some(Skipped), true, false),
        ] {
            check(known, now, worse, better);
        }
    }

    #[test]
    fn of_chosen_specs_only_those_that_ran_are_judged() {
        let known = baseline(&["ran", "broke", "not chosen", "missing"], &[], &[]);
        let report = Report::of(vec![
            spec("ran", State::Passed),
            spec("broke", State::Failed),
            spec("not chosen", State::Skipped),
        ]);
        let worse: Vec<String> = judge(&known, &report, Scope::Ran).worse.iter().map(ToString::to_string).collect();
        assert_eq!(worse, ["broke: was passed, is failed"]);
        assert_eq!(judge(&known, &report, Scope::All).worse.len(), 3);
    }

    #[test]
    fn baseline_that_contradicts_itself_or_gives_no_reason_is_refused() {
        let good = baseline(&["a"], &["b"], &["c"]);
        assert_eq!(Baseline::parse(&good.to_json()), Ok(good.clone()));
        let miscounted = good.to_json().replace("\"passed\": 1", "\"passed\": 2");
        assert!(Baseline::parse(&miscounted).unwrap_err().contains("2 passed"));
        let unexplained = good.to_json().replace("a reason", " ");
        assert!(Baseline::parse(&unexplained).unwrap_err().contains("no reason for: b"));
        assert!(Baseline::parse("{}").is_err());
    }

    #[test]
    fn blessed_baseline_explains_every_spec_and_judges_its_own_report_well() {
        let mut failing = spec("fails", State::Failed);
        failing.cause = "not built".to_owned();
        let digest = "[k8s.io] pull by digest".to_owned();
        let report = Report::of(vec![failing, spec("passes", State::Passed), spec(&digest, State::Skipped)]);
        let blessed = Baseline::of(&report, &[("by digest", "digest can't be rebuilt")]);
        assert_eq!(blessed.failed["fails"], "not built");
        assert!(blessed.skipped[&digest].contains("digest can't be rebuilt"));
        assert_eq!(judge(&blessed, &report, Scope::All), Judgement::default());
        assert_eq!(Baseline::parse(&blessed.to_json()), Ok(blessed));
    }
}
