//! What is run in the machine, and how the host tells it: one file of lines, words parted by tabs.

use super::{Outcome, plain};
use std::path::{Path, PathBuf};

/// A program that runs in the machine, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// What the results call it.
    pub name: &'static str,
    pub program: Program,
    /// Tests to run, as the test harness takes them; none are all.
    pub arguments: &'static [&'static str],
    /// Two to five times what it takes on a quiet machine.
    pub seconds_max: u64,
}

/// A program of this workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// A binary, by its name.
    Binary(&'static str),
    /// Tests, by the file they begin in.
    Tests(&'static str),
}

impl Program {
    /// Says whether cargo means this one.
    pub fn is(self, name: &str, source: &Path, is_test: bool) -> bool {
        match self {
            Self::Binary(binary) => !is_test && name == binary,
            Self::Tests(file) => is_test && source.ends_with(file),
        }
    }
}

/// What each machine does, in this order: a machine has one processor, so two of them do it in half the time. Making a process
/// costs 25 times what it costs on the host, so of the long programs those tests run that a kernel or cgroup v2 can break.
pub const MACHINES: [&[Job]; 2] = [OF_THE_RUNTIME, OF_THE_DAEMON];

/// All jobs.
pub fn jobs() -> impl Iterator<Item = &'static Job> {
    MACHINES.into_iter().flatten()
}

/// What is below the daemon, from the bottom up.
const OF_THE_RUNTIME: &[Job] = &[
    Job { name: "cgroups", program: Program::Tests("runtime/cgroups/tests/host.rs"), arguments: &[], seconds_max: 20 },
    Job {
        name: "overlay",
        program: Program::Tests("image-service/src/lib.rs"),
        arguments: &["overlay::"],
        seconds_max: 20,
    },
    Job { name: "specs", program: Program::Tests("runtime/spec/tests/real.rs"), arguments: &[], seconds_max: 30 },
    Job {
        name: "shim",
        program: Program::Tests("runtime/shim/tests/real/main.rs"),
        arguments: &["--test-threads=4"],
        seconds_max: 90,
    },
    Job {
        name: "runtime",
        program: Program::Tests("runtime/client/tests/real/main.rs"),
        arguments: &[
            "container::",
            "exec::",
            "sandbox::",
            "sharing::",
            "users::",
            "a_kill_ends_every_process",
            "freezing_and_thawing",
            "--test-threads=4",
        ],
        seconds_max: 90,
    },
    Job {
        name: "attacks",
        program: Program::Tests("runtime/client/tests/attack/main.rs"),
        arguments: &[
            "confined::",
            "attack_container_out_of_memory",
            "attack_fork_bomb",
            "attack_shim_is_never_in_a_cgroup_of_its_pod",
            "attack_process_that_does_not_die",
            "--test-threads=4",
        ],
        seconds_max: 60,
    },
];

/// The daemon's: first the demo, then its two doors.
const OF_THE_DAEMON: &[Job] = &[
    Job { name: "demo", program: Program::Binary("orlop-demo"), arguments: &[], seconds_max: 30 },
    Job {
        name: "daemon",
        program: Program::Tests("testkit/tests/daemon/main.rs"),
        arguments: &[
            "pod_runs_from_pull_to_removal",
            "two_pods_reach_each_other",
            "ends_are_told_with_code",
            "stop_asks_first",
            "mounts_environment_and_user",
            "exec_that_takes_too_long",
            "daemon_with_a_pod_ends",
            "dead_shim_makes_its_pod_not_ready",
            "users::",
            "--test-threads=2",
        ],
        seconds_max: 90,
    },
    // Not the tests of `docker top`: the host's ps(1) finds no boot time in this kernel's /proc/stat.
    Job {
        name: "docker",
        program: Program::Tests("testkit/tests/docker/main.rs"),
        arguments: &[
            "a_detached_container_is_listed",
            "terminals_are_given",
            "a_program_in_the_foreground",
            "who_leaves_a_terminal",
            "files_are_copied",
            "--test-threads=2",
        ],
        seconds_max: 60,
    },
];

/// A job as the guest reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub name: String,
    pub seconds_max: u64,
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// All that the guest must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Folders that must be seen where they are, even below one that the guest covers.
    pub keep: Vec<PathBuf>,
    /// Variables of every job.
    pub environment: Vec<(String, String)>,
    pub orders: Vec<Order>,
}

/// Variables that say where test images are kept; see the testkit's `cache`.
const CACHE_VARIABLES: [&str; 2] = ["XDG_CACHE_HOME", "HOME"];

// === impl Orders ===

impl Orders {
    /// Tells a guest of its jobs, each with the path of its program.
    pub fn new(jobs: &[(&Job, PathBuf)]) -> Outcome<Self> {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let environment: Vec<_> =
            CACHE_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect();
        let mut keep: Vec<PathBuf> = environment.iter().map(|(_, folder)| PathBuf::from(folder)).collect();
        // Binaries beside each other, tests in a folder below.
        keep.extend(std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned())));
        keep.push(crate::house::workspace());
        for path in keep.iter().chain(jobs.iter().map(|(_, path)| path)) {
            plain(path)?;
        }
        let order = |(job, path): &(&Job, PathBuf)| Order {
            name: job.name.to_owned(),
            seconds_max: job.seconds_max,
            program: path.clone(),
            arguments: job.arguments.iter().map(|word| (*word).to_owned()).collect(),
        };
        Ok(Self { keep, environment, orders: jobs.iter().map(order).collect() })
    }

    /// Writes them down.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |words: &[&str]| {
            text.push_str(&words.join("\t"));
            text.push('\n');
        };
        for folder in &self.keep {
            line(&["keep", &folder.to_string_lossy()]);
        }
        for (name, value) in &self.environment {
            line(&["env", name, value]);
        }
        for order in &self.orders {
            let (seconds, program) = (order.seconds_max.to_string(), order.program.to_string_lossy());
            let mut words = vec!["job", order.name.as_str(), &seconds, &program];
            words.extend(order.arguments.iter().map(String::as_str));
            line(&words);
        }
        text
    }

    /// Reads them back.
    pub fn parse(text: &str) -> Outcome<Self> {
        let mut all = Self::default();
        for line in text.lines() {
            match line.split('\t').collect::<Vec<_>>().as_slice() {
                ["keep", folder] => all.keep.push(folder.into()),
                ["env", name, value] => all.environment.push(((*name).to_owned(), (*value).to_owned())),
                ["job", name, seconds, program, arguments @ ..] => all.orders.push(Order {
                    name: (*name).to_owned(),
                    seconds_max: seconds.parse().map_err(|_| format!("{seconds:?} is no number of seconds"))?,
                    program: program.into(),
                    arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
                }),
                _ => return Err(format!("{line:?} is no order")),
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_back_as_they_were() {
        let with_paths: Vec<_> = jobs().map(|job| (job, PathBuf::from(format!("/target/{}", job.name)))).collect();
        let orders = Orders::new(&with_paths).unwrap();
        assert_eq!(Orders::parse(&orders.to_text()).unwrap(), orders);
        assert!(Orders::parse("jib\tx").is_err());
    }

    #[test]
    fn jobs_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = jobs().map(|job| job.name).collect();
        assert_eq!(names.len(), jobs().count(), "two jobs have one name");
        assert!(names.iter().all(|name| !name.contains(char::is_whitespace)));
    }
}
