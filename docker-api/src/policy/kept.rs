//! What a container's user asked for, and what has become of it since: all that policies decide from, beside its state.

use super::health::{HealthCheck, HealthLog};
use super::restart::Restart;
use orlop_usecases::ContainerView;
use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// When it is started again.
    pub(crate) restart: Restart,
    /// It is removed when it has ended.
    pub(crate) auto_remove: bool,
    /// Whether a signal of its own stops it; else any signal from its user counts as a stop.
    pub(crate) own_stop_signal: bool,
    /// How its health is looked at.
    pub(crate) health: Option<HealthCheck>,
}

/// What has become of it; a part of its annex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kept {
    /// What its user last wanted.
    pub(crate) wanted: Wanted,
    /// How often it was started again since its user started it.
    pub(crate) restarts: u32,
    /// How often in a row, after runs that were too short; the pause doubles with each.
    pub(crate) streak: u32,
    /// What was seen of its health.
    pub(crate) health: HealthLog,
    /// Whether it is frozen, or about to be, for an image to be made of it. What its user froze is none of the policies' business.
    pub(crate) frozen_for_commit: bool,
}

/// What the user of a container last wanted of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wanted {
    /// That it exists.
    #[default]
    Nothing,
    /// That it runs.
    Run,
    /// That it ends.
    Stop,
}

/// How rules and what is kept are read from an annex, and how the latter is written to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Book {
    /// Returns both of a container.
    pub(crate) of: fn(&ContainerView) -> (Rules, Kept),
    /// Reads both.
    pub(crate) read: fn(&[u8]) -> (Rules, Kept),
    /// Returns the same annex with this kept.
    pub(crate) write: fn(&[u8], Kept) -> Vec<u8>,
}

// === impl Kept ===

impl Kept {
    /// Returns what is kept when its user starts it: all counts begin anew.
    pub(crate) fn started(&self) -> Self {
        Self { wanted: Wanted::Run, restarts: 0, streak: 0, ..self.clone() }
    }

    /// Returns what is kept when its user stops it.
    pub(crate) fn stopped(&self) -> Self {
        Self { wanted: Wanted::Stop, ..self.clone() }
    }
}
