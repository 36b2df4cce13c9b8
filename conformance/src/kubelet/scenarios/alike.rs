//! What must be the same of a pod after a restart of something that it does not depend on.

use crate::kubelet::pod::Pod;
use crate::kubelet::state::PodState;
use crate::script::{Verdict, same};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// A pod as it was.
pub struct Alike {
    address: String,
    containers: BTreeMap<String, (String, u64)>,
    processes: BTreeSet<(u32, u64)>,
}

impl Alike {
    /// Notes a pod once it is ready.
    pub fn of(pod: &Pod<'_>) -> Verdict<Self> {
        let state = pod.ready()?;
        let (containers, processes) = (containers(&state), first_processes(pod));
        // A runtime may keep a process of its own in the pod.
        if processes.len() < containers.len() {
            return Err(format!("{} has {} containers and the processes {processes:?}", pod.name, containers.len()));
        }
        Ok(Self { address: state.address().to_owned(), containers, processes })
    }

    /// Succeeds when the pod is ready again with the same address, containers, restart counts and processes.
    pub fn still(&self, pod: &Pod<'_>) -> Verdict {
        let state = pod.ready()?;
        let what = |thing: &str| format!("{thing} of {}", pod.name);
        same(&what("the address"), state.address(), self.address.as_str())?;
        same(&what("ids and restarts"), containers(&state), self.containers.clone())?;
        same(&what("the first processes"), first_processes(pod), self.processes.clone())
    }
}

/// Returns the first process of each container, by the number it has inside. Those of probes and of shells come and go.
fn first_processes(pod: &Pod<'_>) -> BTreeSet<(u32, u64)> {
    let is_first = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.and_then(|numbers| numbers.split_whitespace().last()) == Some("1")
    };
    pod.processes().into_iter().filter(|(pid, _)| is_first(pid)).collect()
}

fn containers(state: &PodState) -> BTreeMap<String, (String, u64)> {
    state.containers().map(|c| (c.name().to_owned(), (c.id().to_owned(), c.restarts()))).collect()
}
