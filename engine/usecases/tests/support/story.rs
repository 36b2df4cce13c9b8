//! What callers asked for and were told: all that the laws hold the node to.

use orlop_model::{ContainerId, SandboxId};
use std::sync::{Arc, Mutex};

/// Containers of the pod.
pub const CONTAINERS: usize = 3;

/// A request as its caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    Asked,
    Done,
}

/// What callers asked for and were told, of a pod.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub sandbox: Option<SandboxId>,
    pub stop: Option<Said>,
    pub remove: Option<Said>,
    /// Its shim died by itself: what ran in it ended, and how is not known.
    pub shim_died: bool,
    pub containers: [ContainerStory; CONTAINERS],
}

/// The same of one of its containers.
#[derive(Clone, Debug, Default)]
pub struct ContainerStory {
    pub id: Option<ContainerId>,
    pub start: Option<Said>,
    /// It may use what [`super::life::UPDATE_SHARES`] says.
    pub update: Option<Said>,
    pub stop: Option<Said>,
    pub remove: Option<Said>,
}

/// A story that is being told.
pub type Told = Arc<Mutex<Story>>;
