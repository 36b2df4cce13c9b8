//! On folders that look like hierarchies, for what this node does not have.

#![allow(clippy::unwrap_used, reason = "tests, their helpers included")]

use orlop_cgroups::{CgroupPath, Hierarchies, Hierarchy, Leaf, remove_tree};
use orlop_wire::plan::{CgroupWrite, Missing};
use std::path::Path;

fn hierarchy(mount: &Path, controllers: &[&str]) -> Hierarchy {
    std::fs::create_dir_all(mount).unwrap();
    Hierarchy { mount: mount.to_owned(), controllers: controllers.iter().map(|c| (*c).to_owned()).collect() }
}

fn path(text: &str) -> CgroupPath {
    CgroupPath::parse(text).unwrap()
}

#[test]
fn v2_parents_hand_down_what_they_have_and_do_not_give_yet() {
    let dir = tempfile::tempdir().unwrap();
    let unified = hierarchy(dir.path(), &["cpu", "memory"]);
    std::fs::write(dir.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
    std::fs::write(dir.path().join("cgroup.subtree_control"), "cpu\n").unwrap();
    let hierarchies = Hierarchies { v1: Vec::new(), unified: Some(unified) };
    let leaf = Leaf::create(&hierarchies, &path("/pods/one")).unwrap();
    assert!(leaf.unified_dir_fd().is_some());
    // A plain file keeps what was last written over its start; the kernel's adds.
    assert_eq!(std::fs::read_to_string(dir.path().join("cgroup.subtree_control")).unwrap(), "+memory");
    assert!(!dir.path().join("pods/cgroup.subtree_control").exists());
}

#[test]
fn v2_parent_with_processes_hands_nothing_down() {
    let dir = tempfile::tempdir().unwrap();
    let inhabited = dir.path().join("service");
    std::fs::create_dir(&inhabited).unwrap();
    for (file, text) in [
        ("cgroup.type", "domain\n"),
        ("cgroup.procs", "71\n"),
        ("cgroup.controllers", "cpu memory pids\n"),
        ("cgroup.subtree_control", ""),
    ] {
        std::fs::write(inhabited.join(file), text).unwrap();
    }
    let hierarchies = Hierarchies { v1: Vec::new(), unified: Some(hierarchy(dir.path(), &["cpu"])) };
    Leaf::create(&hierarchies, &path("/service/pods")).unwrap();
    assert_eq!(std::fs::read_to_string(inhabited.join("cgroup.subtree_control")).unwrap(), "");
}

#[test]
fn hybrid_hands_nothing_down() {
    let dir = tempfile::tempdir().unwrap();
    let (pids, unified) = (dir.path().join("pids"), dir.path().join("unified"));
    let hierarchies =
        Hierarchies { v1: vec![hierarchy(&pids, &["pids"])], unified: Some(hierarchy(&unified, &["hugetlb"])) };
    std::fs::write(unified.join("cgroup.controllers"), "hugetlb\n").unwrap();
    std::fs::write(unified.join("cgroup.subtree_control"), "").unwrap();
    Leaf::create(&hierarchies, &path("/a")).unwrap();
    assert_eq!(std::fs::read_to_string(unified.join("cgroup.subtree_control")).unwrap(), "");
    assert!(pids.join("a").is_dir() && unified.join("a").is_dir());
}

#[test]
fn v1_cpuset_takes_its_parents_cpus_where_it_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("cpuset");
    let hierarchies = Hierarchies { v1: vec![hierarchy(&mount, &["cpuset"])], unified: None };
    for (folder, cpus) in [("", "0-3\n"), ("kube", "\n"), ("kube/pod", "\n"), ("kube/pod/one", "2\n")] {
        std::fs::create_dir_all(mount.join(folder)).unwrap();
        std::fs::write(mount.join(folder).join("cpuset.cpus"), cpus).unwrap();
    }
    Leaf::create(&hierarchies, &path("/kube/pod/one")).unwrap();
    let read =
        |folder: &str| std::fs::read_to_string(mount.join(folder).join("cpuset.cpus")).unwrap().trim().to_owned();
    assert_eq!([read("kube"), read("kube/pod"), read("kube/pod/one")], ["0-3", "0-3", "2"]);
}

#[test]
fn v1_without_unified_tree_creates_opens_writes_and_removes() {
    let dir = tempfile::tempdir().unwrap();
    let (memory, pids) = (dir.path().join("memory"), dir.path().join("pids"));
    let v1 = vec![hierarchy(&memory, &["memory"]), hierarchy(&pids, &["pids"])];
    let hierarchies = Hierarchies { v1, unified: None };
    assert!(Leaf::open(&hierarchies, &path("/a")).unwrap().is_none());
    remove_tree(&hierarchies, &path("/a/b")).unwrap();

    let leaf = Leaf::create(&hierarchies, &path("/a/b")).unwrap();
    assert!(leaf.unified_dir_fd().is_none());
    assert_eq!(leaf.oom_kills().unwrap(), None);
    assert_eq!(leaf.procs().unwrap(), Vec::<u32>::new());
    let write =
        |missing| CgroupWrite { controller: "pids".into(), file: "pids.max".into(), value: "5".into(), missing };
    leaf.write(&write(Missing::Ignore)).unwrap();
    assert!(leaf.write(&write(Missing::Fail)).unwrap_err().to_string().contains("pids"));
    leaf.remove().unwrap();
    assert!(memory.join("a").is_dir() && !memory.join("a/b").exists());
}

#[test]
fn oom_kills_are_read_from_either_file() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("memory");
    let hierarchies = Hierarchies { v1: vec![hierarchy(&memory, &["memory"])], unified: None };
    let leaf = Leaf::create(&hierarchies, &path("/a")).unwrap();
    std::fs::write(memory.join("a/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n").unwrap();
    assert_eq!(leaf.oom_kills().unwrap(), Some(3));

    let unified = dir.path().join("unified");
    let hierarchies = Hierarchies { v1: Vec::new(), unified: Some(hierarchy(&unified, &["memory"])) };
    let leaf = Leaf::create(&hierarchies, &path("/a")).unwrap();
    std::fs::write(unified.join("a/memory.events"), "low 0\noom 2\noom_kill 2\noom_group_kill 0\n").unwrap();
    assert_eq!(leaf.oom_kills().unwrap(), Some(2));
}
