//! Processes: which there are, and which of them are ours.

use crate::mark::{is_living, marks_in};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The kernel's own threads are children of this process.
const KTHREADD: u32 = 2;

/// One process, as `/proc` shows it.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// When it was started, in clock ticks since boot: with the id, its identity.
    pub started: u64,
    /// Its parent.
    pub parent: u32,
    /// What it is called.
    pub name: String,
    /// Whether it ended and waits to be waited for.
    pub zombie: bool,
}

impl Process {
    /// Reads one from `/proc`; `None` when it is gone.
    #[must_use]
    pub fn read(pid: u32) -> Option<Self> {
        parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Describes it for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        format!("{} ({}), child of {}: {}", self.pid, self.name, self.parent, line.trim())
    }

    fn netns(&self) -> Option<u64> {
        Some(fs::metadata(format!("/proc/{}/ns/net", self.pid)).ok()?.ino())
    }

    /// Says whether it carries a mark of which `which` says so: in its environment, command line or control group.
    fn mentions(&self, which: impl Fn(&str) -> bool) -> bool {
        ["environ", "cmdline", "cgroup"].iter().any(|file| {
            let content = fs::read(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
            marks_in(&String::from_utf8_lossy(&content)).any(&which)
        })
    }

    /// Says whether it carries the mark of a test that goes on; asked of one that carries none of this test's.
    fn is_of_another_test(&self) -> bool {
        self.mentions(is_living)
    }

    /// Says whether it lives in a pid namespace below the host's: `NSpid` has more than one number. proc_pid_status(5).
    fn in_a_container(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .is_some_and(|pids| pids.split_whitespace().count() > 1)
    }
}

fn parse_stat(stat: &str) -> Option<Process> {
    // The name stands in brackets and may hold both blanks and brackets.
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Process {
        pid: pid.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        name: name.to_owned(),
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// Returns all processes but the kernel's own, by id.
#[must_use]
pub fn processes() -> BTreeMap<u32, Process> {
    let pids = super::host::entries("/proc".as_ref());
    pids.iter()
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .filter_map(Process::read)
        .filter(|process| process.pid != KTHREADD && process.parent != KTHREADD)
        .map(|process| (process.pid, process))
        .collect()
}

/// By what a process is known to be ours.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Names that its environment, command line or control group mentions.
    pub names: Vec<String>,
    /// Network namespaces, by inode, in the order of the names.
    pub netns: Vec<u64>,
    /// Whether a process of a container whose parent is gone counts though no mark is on it.
    pub orphans_count: bool,
}

impl Marks {
    /// Returns those of `all` that are ours: our descendants, and whatever carries a mark.
    #[must_use]
    pub fn ours<'a>(&self, all: &'a BTreeMap<u32, Process>) -> Vec<&'a Process> {
        let me = std::process::id();
        all.values().filter(|process| process.pid != me && self.owns(process, all, me)).collect()
    }

    fn owns(&self, process: &Process, all: &BTreeMap<u32, Process>, me: u32) -> bool {
        let unmarked_is_ours =
            || descends(process, all, me) || (self.orphans_count && process.parent == 1 && process.in_a_container());
        self.marks(process) || (unmarked_is_ours() && !process.is_of_another_test())
    }

    /// Says whether a process carries one of the marks itself.
    #[must_use]
    pub fn marks(&self, process: &Process) -> bool {
        process.netns().is_some_and(|netns| self.netns.contains(&netns))
            || process.mentions(|mark| self.names.iter().any(|name| name == mark))
    }

    /// Returns the name of the ground whose mark a process carries.
    pub(crate) fn ground_of(&self, process: &Process) -> Option<&str> {
        let named = self.names.iter().find(|name| process.mentions(|mark| *name == mark));
        let inside = || self.names.get(self.netns.iter().position(|netns| process.netns() == Some(*netns))?);
        named.or_else(inside).map(String::as_str)
    }
}

fn descends(process: &Process, all: &BTreeMap<u32, Process>, ancestor: u32) -> bool {
    let mut parent = process.parent;
    // Bounded by the number of processes: pids are reused, so a torn reading could show a circle.
    for _ in 0..all.len() {
        if parent == ancestor {
            return true;
        }
        match all.get(&parent) {
            Some(next) => parent = next.parent,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_brackets_does_not_confuse() {
        let stat = "42 (a) (b c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 998877 1 1";
        let process = parse_stat(stat).unwrap();
        assert_eq!((process.pid, process.parent, process.started), (42, 7, 998_877));
        assert_eq!(process.name, "a) (b c");
        assert!(!process.zombie);
    }

    #[test]
    fn child_of_this_test_is_ours() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let all = processes();
        let ours: Vec<u32> = Marks::default().ours(&all).iter().map(|process| process.pid).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ours.contains(&child.id()));
        assert!(!ours.contains(&1));
    }
}
