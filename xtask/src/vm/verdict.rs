//! Results as lines of the machine's console, and what they come to. Pure.

use super::jobs::Job;
use crate::ring::Tally;
use std::fmt;

/// What a line of a result begins with.
const MARK: &str = "vm-result";
/// The line that the guest ends with.
pub const LAST: &str = "vm-end";

/// Returns the line of a result.
pub fn line(name: &str, tally: Tally) -> String {
    format!("{MARK} {name} {} {} {}", tally.passed, tally.failed, tally.skipped)
}

/// Says whether a line is a result, and for nobody to read.
pub fn is_for_the_host(line: &str) -> bool {
    line.starts_with(MARK) || line.trim() == LAST
}

fn parse(line: &str) -> Option<(&str, Tally)> {
    let mut words = line.trim().strip_prefix(MARK)?.split_whitespace();
    let name = words.next()?;
    let mut number = || words.next()?.parse().ok();
    Some((name, Tally { passed: number()?, failed: number()?, skipped: number()? }))
}

/// What all of it came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    tally: Tally,
    /// What there should have been and was not.
    missing: Vec<String>,
}

/// Judges the lines of the console.
pub fn of(lines: &[String], jobs: &[Job]) -> Verdict {
    let mut verdict = Verdict { tally: Tally::default(), missing: Vec::new() };
    let results: Vec<_> = lines.iter().filter_map(|line| parse(line)).collect();
    for job in jobs {
        match results.iter().find(|(name, _)| *name == job.name) {
            // Tests that were all filtered out would pass for ever.
            Some((_, tally)) if *tally == Tally::default() => {
                verdict.missing.push(format!("{} ran nothing", job.name));
            }
            Some((_, tally)) => verdict.tally.add(*tally),
            None => verdict.missing.push(format!("{} has no result", job.name)),
        }
    }
    if !lines.iter().any(|line| line.trim() == LAST) {
        verdict.missing.push("the machine did not come to its end".to_owned());
    }
    verdict.tally.failed += verdict.missing.len();
    verdict
}

impl Verdict {
    /// Returns what this and another came to.
    pub fn and(mut self, other: Self) -> Self {
        self.tally.add(other.tally);
        self.missing.extend(other.missing);
        self
    }

    /// Says whether everything ran, and nothing failed.
    pub fn is_good(&self) -> bool {
        self.tally.failed == 0 && self.tally.passed > 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for missing in &self.missing {
            writeln!(f, "vm: {missing}")?;
        }
        let Tally { passed, failed, skipped } = self.tally;
        write!(f, "vm: {passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::jobs::Program;

    const TWO: [Job; 2] = [
        Job { name: "a", program: Program::Binary("x"), arguments: &[], seconds_max: 1 },
        Job { name: "b", program: Program::Binary("y"), arguments: &[], seconds_max: 1 },
    ];

    fn check(lines: &[&str], expected: &str) {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let verdict = of(&lines, &TWO);
        assert_eq!(verdict.to_string().lines().last().unwrap(), expected);
        assert_eq!(verdict.is_good(), expected.contains(" 0 failed"));
    }

    #[test]
    fn whatever_is_missing_is_a_failure() {
        let a = line("a", Tally { passed: 3, failed: 0, skipped: 1 });
        let b = line("b", Tally { passed: 1, failed: 0, skipped: 0 });
        check(&["noise", &a, &b, LAST], "vm: 4 passed, 0 failed, 1 skipped");
        check(&[&a, LAST], "vm: 3 passed, 1 failed, 1 skipped");
        check(&[&a, &b], "vm: 4 passed, 1 failed, 1 skipped");
        check(&[&a, "vm-result b 0 0 0", LAST], "vm: 3 passed, 1 failed, 1 skipped");
        check(&[&a, "vm-result b 1 2 0", LAST], "vm: 4 passed, 2 failed, 1 skipped");
        check(&[], "vm: 0 passed, 3 failed, 0 skipped");
    }

    #[test]
    fn what_one_machine_lacks_the_other_does_not_make_good() {
        let (first, second) = TWO.split_at(1);
        let passed = |name: &str| line(name, Tally { passed: 2, failed: 0, skipped: 0 });
        let lines = |name: &str| vec![passed(name), LAST.to_owned()];
        let both = of(&lines("a"), first).and(of(&lines("b"), second));
        assert_eq!((both.is_good(), both.to_string().as_str()), (true, "vm: 4 passed, 0 failed, 0 skipped"));
        assert!(!of(&lines("a"), first).and(of(&lines("a"), second)).is_good());
        assert!(!of(&lines("a"), first).and(of(&[passed("b")], second)).is_good());
    }
}
