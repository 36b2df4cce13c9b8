//! What a suite did, test by test; each suite has a reader of its own that makes it.

use std::collections::BTreeMap;

/// How much of a cause is told: the rest is a dump that helps nobody.
pub const CAUSE_CHARS_MAX: usize = 240;

/// How a spec ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should.
    Passed,
    /// Otherwise: failed, panicked, timed out, interrupted.
    Failed,
    /// Not run.
    Skipped,
}

/// One spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its full name.
    pub name: String,
    /// How it ended.
    pub state: State,
    /// Why it failed or was skipped, in one line.
    pub cause: String,
}

/// All specs of a run.
#[derive(Debug)]
pub struct Report {
    specs: Vec<Spec>,
}

// === impl Report ===

impl Report {
    /// Makes a report of specs.
    pub fn of(specs: Vec<Spec>) -> Self {
        Self { specs }
    }

    /// Returns all specs.
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// Returns the specs that ended so.
    pub fn with(&self, state: State) -> impl Iterator<Item = &Spec> {
        self.specs.iter().filter(move |spec| spec.state == state)
    }

    /// Returns the specs that ended so, by why.
    pub fn by_cause(&self, state: State) -> BTreeMap<&str, Vec<&Spec>> {
        let mut causes: BTreeMap<&str, Vec<&Spec>> = BTreeMap::new();
        for spec in self.with(state) {
            causes.entry(&spec.cause).or_default().push(spec);
        }
        causes
    }

    /// Prints what failed and what was skipped, by cause.
    pub fn tell(&self) {
        for (state, word) in [(State::Failed, "FAILED"), (State::Skipped, "skipped")] {
            for (cause, specs) in self.by_cause(state) {
                println!("{word}  {} because: {cause}", specs.len());
                specs.iter().for_each(|spec| println!("        {}", spec.name));
            }
        }
    }
}
