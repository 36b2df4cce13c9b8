//! What a shim and a daemon take, with many pods alive.
//!
//! The shim by one method for both: all shims in a memory cgroup of their own, what it is charged for anonymous and kernel
//! memory, divided by their number. The pods use the node's namespaces, since a namespace's kernel memory is charged to its
//! maker. The page cache is left apart: it is shared, and charged to whoever came first.

use super::interrupt;
use super::samples::Pair;
use super::side::{PROGRAM, Side};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many pods, each of one container.
pub const PODS: u32 = 100;
/// The cgroup of the shims below that of the ground: ours is called so; the peer is told.
pub const SHIMS: &str = "shims";
/// Numbers of these pods: apart from those of the timed ones.
const FIRST: u32 = 100_000;
/// Where hierarchies are mounted.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// What one side takes, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What the cgroup of all shims is charged for.
    pub shims: Charged,
    /// The anonymous memory of its processes by `/proc`: also what was charged to another cgroup before they moved here.
    pub shims_anonymous: u64,
    /// How many they are.
    pub pods: u32,
    /// The daemon with them alive, by `/proc`.
    pub daemon: Resident,
}

/// What a memory cgroup is charged for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charged {
    /// Anonymous memory.
    pub anonymous: u64,
    /// Kernel memory: stacks, page tables, descriptors.
    pub kernel: u64,
}

/// What a process has in memory, in bytes. proc_pid_smaps_rollup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Its proportional share of all it maps.
    pub proportional: u64,
    /// Anonymous memory.
    pub anonymous: u64,
}

/// Measures both sides, one after the other.
pub fn measure(sides: &Pair<Side>) -> io::Result<Pair<Memory>> {
    Ok(Pair { ours: measure_side(&sides.ours)?, theirs: measure_side(&sides.theirs)? })
}

fn measure_side(side: &Side) -> io::Result<Memory> {
    let failed = |e: orlop_testkit::Status| io::Error::other(format!("{}: {e}", side.name()));
    let mut pods = Vec::new();
    for number in FIRST..FIRST + PODS {
        interrupt::check()?;
        let config = side.node_pod(number);
        let pod = side.run_pod(&config).map_err(failed)?;
        let container = side.create(&pod, &config, PROGRAM).map_err(failed)?;
        side.start(&container).map_err(failed)?;
        pods.push(pod);
    }
    let shims = group(&side.ground.cgroup()).join(SHIMS);
    let memory = Memory {
        shims: charged(&shims)?,
        shims_anonymous: anonymous_of_processes(&shims)?,
        pods: PODS,
        daemon: resident(side.daemon)?,
    };
    for pod in &pods {
        side.stop_pod(pod).map_err(failed)?;
        side.remove_pod(pod).map_err(failed)?;
    }
    Ok(memory)
}

/// Makes the cgroup in which the peer is to put its shims, where memory is counted: it wants it there already.
pub fn make_shims_group(path: &str) -> io::Result<()> {
    fs::create_dir_all(group(path))
}

/// Returns the folder of a cgroup in the hierarchy that counts memory: v1's own, or the only one of v2.
fn group(path: &str) -> PathBuf {
    let version_1 = Path::new(CGROUP_ROOT).join("memory");
    let root = if version_1.is_dir() { version_1 } else { PathBuf::from(CGROUP_ROOT) };
    root.join(path.trim_start_matches('/'))
}

fn charged(folder: &Path) -> io::Result<Charged> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(|e| io::Error::other(format!("read {}: {e}", path.display())))
    };
    // Where version 1 has a file, version 2 has a line.
    parse_charged(&read("memory.stat")?, read("memory.kmem.usage_in_bytes").ok().as_deref())
        .ok_or_else(|| io::Error::other(format!("{} does not say what memory it is charged for", folder.display())))
}

fn parse_charged(stat: &str, kernel_usage: Option<&str>) -> Option<Charged> {
    let field = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    match kernel_usage {
        Some(usage) => Some(Charged { anonymous: field("total_rss")?, kernel: usage.trim().parse().ok()? }),
        None => Some(Charged { anonymous: field("anon")?, kernel: field("kernel")? }),
    }
}

fn anonymous_of_processes(group: &Path) -> io::Result<u64> {
    let processes = fs::read_to_string(group.join("cgroup.procs"))?;
    let pids = processes.lines().filter_map(|pid| pid.parse().ok());
    pids.map(|pid| resident(pid).map(|resident| resident.anonymous)).sum()
}

fn resident(pid: u32) -> io::Result<Resident> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse_resident(&rollup).ok_or_else(|| io::Error::other(format!("what process {pid} has in memory can't be read")))
}

fn parse_resident(rollup: &str) -> Option<Resident> {
    let kilobytes = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Resident { proportional: kilobytes("Pss:")? * 1024, anonymous: kilobytes("Anonymous:")? * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_read_from_both_versions_of_cgroups() {
        let version_1 = "cache 4096\nrss 1\ntotal_cache 9\ntotal_rss 8192\ntotal_rss_huge 0\n";
        let expected = Some(Charged { anonymous: 8192, kernel: 4096 });
        assert_eq!(parse_charged(version_1, Some("4096\n")), expected);
        assert_eq!(parse_charged("anon 8192\nanon_thp 5\nfile 7\nkernel 4096\nkernel_stack 3\n", None), expected);
        assert_eq!(parse_charged("file 7\n", None), None);
    }

    #[test]
    fn memory_of_a_process_is_read() {
        let own = resident(std::process::id()).unwrap();
        assert!(own.proportional > 0 && own.anonymous > 0);
        let rollup = "x rollup\nRss: 9 kB\nPss:    7 kB\nPss_Dirty: 1 kB\nAnonymous:  2 kB\n";
        assert_eq!(parse_resident(rollup), Some(Resident { proportional: 7168, anonymous: 2048 }));
    }
}
