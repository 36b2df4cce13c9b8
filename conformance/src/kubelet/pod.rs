//! Static pods: manifests written into the kubelet's folder, and what scenarios do with the pods they become.

use super::config::NODE;
use super::stage::Stage;
use super::state::PodState;
use crate::bench::interrupt;
use crate::script::Verdict;
use orlop_testkit::client::v1;
use orlop_testkit::wait_for;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest that a state is waited for: many pods start at once on a small machine.
pub const LIMIT: Duration = Duration::from_secs(100);
/// The longest that a command inside a container may take, seconds.
const EXEC_SECONDS_MAX: i64 = 20;
/// Seconds of grace for pods that say nothing else: their shells don't listen.
const GRACE_SECONDS: u64 = 1;
/// Where a kubelet puts the cgroups of pods, by class of service.
const CLASSES: [&str; 3] = ["", "burstable", "besteffort"];

/// Makes a container that runs a script.
pub fn container(stage: &Stage, name: &str, script: &str) -> Value {
    json!({"name": name, "image": stage.image(), "command": ["sh", "-c", script]})
}

/// Returns an object with the members of another in it.
pub fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

/// A pod that was asked for. Dropped, its manifest is taken away, and the kubelet ends it.
pub struct Pod<'a> {
    stage: &'a Stage,
    /// Name in its manifest.
    pub name: String,
    manifest: PathBuf,
}

// === impl Pod ===

impl<'a> Pod<'a> {
    /// Asks for a pod.
    pub fn ask(stage: &'a Stage, name: &str, spec: Value) -> Verdict<Self> {
        Self::ask_with(stage, name, json!({}), spec)
    }

    /// The same with labels, annotations and the like.
    pub fn ask_with(stage: &'a Stage, name: &str, metadata: Value, spec: Value) -> Verdict<Self> {
        let metadata = with(json!({"name": name, "namespace": "default"}), metadata);
        let spec = with(json!({"terminationGracePeriodSeconds": GRACE_SECONDS}), spec);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        let manifest = stage.ground().join("manifests").join(format!("{name}.json"));
        // Written elsewhere and moved there whole: the kubelet looks at once.
        let half = stage.ground().join("tmp").join(format!("{name}.json"));
        let written = fs::write(&half, pod.to_string()).and_then(|()| fs::rename(&half, &manifest));
        written.map_err(|e| format!("write {}: {e}", manifest.display()))?;
        Ok(Self { stage, name: name.to_owned(), manifest })
    }

    /// Returns namespace and name as the kubelet's server knows it.
    pub fn path(&self) -> String {
        format!("default/{}-{NODE}", self.name)
    }

    /// Returns what the kubelet says of it; `None` before it does.
    pub fn state(&self) -> Option<Arc<PodState>> {
        self.stage.view().pods.get(&self.name).cloned()
    }

    /// Waits until `look` finds what it wants in what the kubelet says of the pod.
    pub fn until<T>(&self, what: &str, look: impl FnMut(&PodState) -> Option<T>) -> Verdict<T> {
        self.until_within(LIMIT, what, look)
    }

    /// The same with a limit of its own.
    pub fn until_within<T>(&self, limit: Duration, what: &str, look: impl FnMut(&PodState) -> Option<T>) -> Verdict<T> {
        let mut look = look;
        let found = wait(limit, || self.state().and_then(|state| look(&state)))?;
        found.ok_or_else(|| {
            let state = self.state().map_or_else(|| "the kubelet doesn't know it".to_owned(), |s| s.describe());
            format!("{}: waited {limit:?} in vain until {what}: {state}", self.name)
        })
    }

    /// Waits until all its containers run and are ready; returns what the kubelet says then.
    pub fn ready(&self) -> Verdict<PodState> {
        self.until("it is ready", |state| (state.phase() == "Running" && state.has("Ready")).then(|| state.clone()))
    }

    /// Waits until it has ended, as `Succeeded` or `Failed`; returns what the kubelet says then.
    pub fn ended(&self) -> Verdict<PodState> {
        self.until("it has ended", |state| matches!(state.phase(), "Succeeded" | "Failed").then(|| state.clone()))
    }

    /// Takes its manifest away, and waits until the last of its processes has ended; returns how long that took.
    ///
    /// The kubelet's list is no help: a static pod without a manifest is not in it, however long its grace.
    pub fn remove(self) -> Verdict<Duration> {
        let cgroup = self.cgroup("memory");
        let begun = Instant::now();
        fs::remove_file(&self.manifest).map_err(|e| format!("remove {}: {e}", self.manifest.display()))?;
        let gone = wait(LIMIT, || {
            let known = self.stage.view();
            let gone = known.asked > begun && !known.pods.contains_key(&self.name);
            (gone && cgroup.iter().all(|folder| processes_of(folder).is_empty())).then_some(())
        })?;
        gone.map(|()| begun.elapsed()).ok_or_else(|| format!("{} is still there after {LIMIT:?}", self.name))
    }

    /// Runs a command in a container of it, over the CRI; returns what it printed when it succeeded.
    pub fn exec(&self, container: &str, command: &[&str]) -> Verdict<String> {
        let state = self.state().ok_or("the kubelet doesn't know the pod")?;
        let container_id = state.container(container).map(|c| c.id().to_owned()).unwrap_or_default();
        let cmd = command.iter().map(ToString::to_string).collect();
        let request = v1::ExecSyncRequest { container_id, cmd, timeout: EXEC_SECONDS_MAX };
        let answer = self.stage.client().exec_sync(request).map_err(|e| format!("exec {command:?}: {e}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match answer.exit_code {
            0 => Ok(text(&answer.stdout)),
            code => Err(format!("exec {command:?} ended with {code}: {}", text(&answer.stderr))),
        }
    }

    /// Returns the folder of a container's logs; `None` before the kubelet knows the pod.
    pub fn log_folder(&self, container: &str) -> Option<PathBuf> {
        let state = self.state()?;
        let name = format!("default_{}_{}", state.name(), state.uid());
        Some(self.stage.ground().join("logs").join(name).join(container))
    }

    /// Returns what a container wrote, in the order of its starts as far as the kubelet keeps them, rotated files left out.
    pub fn log(&self, container: &str) -> String {
        let entries = self.log_folder(container).and_then(|folder| fs::read_dir(folder).ok());
        let names = entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut attempts: Vec<u64> = names.filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
        attempts.sort_unstable();
        attempts.into_iter().filter_map(|attempt| self.log_of(container, attempt)).collect()
    }

    /// Returns what a container wrote after its nth start, counted from zero.
    pub fn log_of(&self, container: &str, attempt: u64) -> Option<String> {
        let file = self.log_folder(container)?.join(format!("{attempt}.log"));
        Some(messages(&fs::read_to_string(file).ok()?))
    }

    /// Waits until the log of a container holds the words; returns all of it.
    pub fn says(&self, container: &str, words: &str) -> Verdict<String> {
        let found = wait(LIMIT, || Some(self.log(container)).filter(|log| log.contains(words)))?;
        found.ok_or_else(|| {
            let state = self.state().map(|s| s.describe()).unwrap_or_default();
            format!(
                "{}: waited in vain for {words:?} in the log of {container}: {:?}; {state}",
                self.name,
                self.log(container)
            )
        })
    }

    /// Waits until the log of a container holds the last of the words, and succeeds when it holds the others, too.
    pub fn told(&self, container: &str, words: &[&str], last: &str) -> Verdict<String> {
        let log = self.says(container, last)?;
        match words.iter().find(|word| !log.contains(**word)) {
            Some(missing) => Err(format!("{missing:?} is missing in the log of {container}: {log}")),
            None => Ok(log),
        }
    }

    /// Returns the folder of the pod's cgroup in a hierarchy of v1, or in the only one.
    pub fn cgroup(&self, hierarchy: &str) -> Option<PathBuf> {
        let uid = self.state()?.uid().to_owned();
        let v1 = Path::new("/sys/fs/cgroup").join(hierarchy);
        let root = if v1.exists() { v1 } else { "/sys/fs/cgroup".into() };
        let pods = root.join(self.stage.ground().name()).join("kubepods");
        CLASSES.iter().map(|class| pods.join(class).join(format!("pod{uid}"))).find(|folder| folder.exists())
    }

    /// Returns its processes, of which there must be one at least.
    pub fn living(&self) -> Verdict<BTreeSet<(u32, u64)>> {
        let processes = self.processes();
        if processes.is_empty() { Err(format!("{} has no process", self.name)) } else { Ok(processes) }
    }

    /// Returns its processes: ids, and when each was started. None when it is unknown, or gone.
    pub fn processes(&self) -> BTreeSet<(u32, u64)> {
        let pids: Vec<u32> = self.cgroup("memory").iter().flat_map(|folder| processes_of(folder)).collect();
        let identity = |pid| orlop_testkit::guard::Process::read(pid).map(|process| (pid, process.started));
        pids.into_iter().filter_map(identity).collect()
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.manifest);
    }
}

/// Waits, unless somebody asks for the end of the run.
pub fn wait<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Verdict<Option<T>> {
    let found = wait_for(limit, || match interrupt::check() {
        Err(asked) => Some(Err(asked.to_string())),
        Ok(()) => look().map(Ok),
    });
    found.transpose()
}

/// Returns the messages of a log as runtimes write it: time, stream, whether the line ends here, and the line.
pub fn messages(log: &str) -> String {
    let mut text = String::new();
    for line in log.lines() {
        let mut words = line.splitn(4, ' ').skip(2);
        let (tag, message) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        text.push_str(message);
        if tag != "P" {
            text.push('\n');
        }
    }
    text
}

fn processes_of(cgroup: &Path) -> Vec<u32> {
    let mut pids = Vec::new();
    add_processes(cgroup, &mut pids);
    pids
}

fn add_processes(folder: &Path, pids: &mut Vec<u32>) {
    let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
        add_processes(&entry.path(), pids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_from_what_is_written_about_them() {
        let log = "2026-01-01T00:00:00.1Z stdout F one two\n2026-01-01T00:00:00.2Z stderr P half, \n\
                   2026-01-01T00:00:00.3Z stderr F whole\n2026-01-01T00:00:00.4Z stdout F \n";
        assert_eq!(messages(log), "one two\nhalf, whole\n\n");
    }

    #[test]
    fn members_are_added_and_replaced() {
        assert_eq!(with(json!({"a": 1, "b": 2}), json!({"b": 3, "c": 4})), json!({"a": 1, "b": 3, "c": 4}));
    }
}
