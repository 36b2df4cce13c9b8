//! Mounts that appear on one side after the container started.

use crate::containers::try_start;
use crate::node::{Node, wait_until};
use crate::plans::plan;
use orlop_wire::frame::Reply;
use orlop_wire::plan::{BindIds, BindSource, Op};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use std::path::{Path, PathBuf};

/// A shared mount of the node, gone with all below it when dropped.
struct Shared(PathBuf);

impl Shared {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir(&path).unwrap();
        tmpfs(&path);
        let shared = Self(path);
        mount_change(&shared.0, MountPropagationFlags::SHARED).unwrap();
        for folder in ["before", "node", "container"] {
            std::fs::create_dir(shared.0.join(folder)).unwrap();
        }
        tmpfs(&shared.0.join("before"));
        shared
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn tmpfs(path: &Path) {
    mount("orlop-test", path, "tmpfs", MountFlags::empty(), None).unwrap();
}

fn is_mounted(process: &str, path: &str) -> bool {
    let mounts = std::fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(path))
}

#[track_caller]
fn check(propagation: u64, recursive: bool, seen_before: bool, seen_inside: bool, seen_outside: bool) {
    let mut node = Node::new();
    let shared = Shared::new(node.log("shared"));
    let mut client = node.sandbox();
    let script = "mount -t tmpfs orlop-test /vol/container; sleep 1000";
    let mut plan = plan(&node.cgroup, "c", &["sh", "-c", script]);
    plan.ops.insert(
        5,
        Op::Bind {
            source: BindSource::Path(shared.0.to_str().unwrap().to_owned()),
            recursive,
            attributes: 0,
            attributes_recursive: false,
            propagation,
            ids: BindIds::AsOnNode,
            target: "/vol".to_owned(),
        },
    );
    let reply = try_start(&mut client, &node, "c", plan);
    let Reply::Started { pid, .. } = reply else { panic!("{reply:?}") };
    let pid = pid.to_string();
    assert_eq!(is_mounted(&pid, "/vol/before"), seen_before);
    tmpfs(&shared.0.join("node"));
    assert_eq!(is_mounted(&pid, "/vol/node"), seen_inside);
    wait_until("the container mounts", || is_mounted(&pid, "/vol/container"));
    let outside = shared.0.join("container");
    assert_eq!(is_mounted("self", outside.to_str().unwrap()), seen_outside);
}

#[test]
fn private_bind_keeps_later_mounts_apart() {
    check(libc::MS_PRIVATE, true, true, false, false);
}

#[test]
fn slave_bind_lets_mounts_of_the_node_in() {
    check(libc::MS_SLAVE, true, true, true, false);
}

#[test]
fn shared_bind_lets_mounts_through_both_ways() {
    check(libc::MS_SHARED, true, true, true, true);
}

#[test]
fn bind_that_is_not_recursive_leaves_what_is_mounted_below() {
    check(libc::MS_PRIVATE, false, false, false, false);
}
