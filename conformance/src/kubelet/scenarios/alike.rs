//! What must be the same of a pod after a restart of something that it does not depend on.

use crate::kubelet::pod::Pod;
use crate::kubelet::state::PodState;
use crate::script::{Verdict, same};
use std::collections::{BTreeMap, BTreeSet};

/// A pod as it was.
pub struct Alike {
    address: String,
    containers: BTreeMap<String, (String, u64)>,
    processes: BTreeSet<(u32, u64)>,
}

impl Alike {
    /// Notes a pod once it is ready. Its programs must have started all the processes that they will.
    pub fn of(pod: &Pod<'_>) -> Verdict<Self> {
        let state = pod.ready()?;
        Ok(Self { address: state.address().to_owned(), containers: containers(&state), processes: pod.processes() })
    }

    /// Succeeds when the pod is ready again with the same address, containers, restart counts and processes.
    pub fn still(&self, pod: &Pod<'_>) -> Verdict {
        let state = pod.ready()?;
        let what = |thing: &str| format!("{thing} of {}", pod.name);
        same(&what("the address"), state.address(), self.address.as_str())?;
        same(&what("ids and restarts"), containers(&state), self.containers.clone())?;
        // Those of probes come and go.
        let now = pod.processes();
        let missing: Vec<_> = self.processes.difference(&now).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("processes of {} are gone: {missing:?}", pod.name)) }
    }
}

fn containers(state: &PodState) -> BTreeMap<String, (String, u64)> {
    state.containers().map(|c| (c.name().to_owned(), (c.id().to_owned(), c.restarts()))).collect()
}
