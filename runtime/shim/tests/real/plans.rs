//! Plans written by hand: a small container on the node's own programs.

use orlop_wire::frame::{Console, Exec, Start, Stdin};
use orlop_wire::plan::{BindIds, BindSource, CgroupPlan, Join, JoinFrom, NamespaceKind, Op, Plan, Program};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::os::fd::{AsFd, OwnedFd};

const MS_SLAVE: u64 = libc::MS_SLAVE;
const MS_PRIVATE: u64 = libc::MS_PRIVATE;

/// Makes an empty root file system that is mounted nowhere.
pub fn empty_root() -> OwnedFd {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_create(context.as_fd()).unwrap();
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
}

pub fn link(to: &str, target: &str) -> Op {
    Op::Symlink { to: to.to_owned(), target: target.to_owned() }
}

pub fn bind(path: &str, target: &str) -> Op {
    Op::Bind {
        source: BindSource::Path(path.to_owned()),
        recursive: true,
        attributes: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attributes_recursive: true,
        propagation: MS_PRIVATE,
        ids: BindIds::AsOnNode,
        target: target.to_owned(),
    }
}

pub fn mount(fstype: &str, target: &str, options: &[(&str, &str)]) -> Op {
    let option = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
    Op::MountNew {
        fstype: fstype.to_owned(),
        source: fstype.to_owned(),
        options: options.iter().map(option).collect(),
        attributes: libc::MOUNT_ATTR_NOSUID,
        target: target.to_owned(),
    }
}

pub fn device(target: &str, minor: u32) -> Op {
    Op::MakeDevice { target: target.to_owned(), mode: libc::S_IFCHR | 0o666, major: 1, minor, uid: 0, gid: 0 }
}

/// Operations of a container whose root is slot 0.
pub fn ops() -> Vec<Op> {
    vec![
        Op::SetPropagation { flags: MS_SLAVE },
        Op::AttachRootfs { slot: 0 },
        bind("/usr", "/usr"),
        link("usr/bin", "/bin"),
        link("usr/lib", "/lib"),
        link("usr/lib64", "/lib64"),
        mount("proc", "/proc", &[]),
        mount("tmpfs", "/dev", &[("mode", "755")]),
        device("/dev/null", 3),
        device("/dev/zero", 5),
        mount("tmpfs", "/tmp", &[("mode", "1777")]),
        Op::PivotRoot,
        Op::OomScoreAdj { value: 100 },
    ]
}

pub fn program(words: &[&str]) -> Program {
    let first = words[0];
    let candidates = if first.contains('/') {
        vec![first.to_owned()]
    } else {
        ["/usr/local/bin", "/usr/bin"].iter().map(|folder| format!("{folder}/{first}")).collect()
    };
    Program {
        candidates,
        argv: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: vec![b"PATH=/usr/bin".to_vec(), b"LC_ALL=C".to_vec()],
    }
}

/// A plan with namespaces of its own, and the sandbox's network, IPC and UTS.
pub fn plan(cgroup: &str, container: &str, words: &[&str]) -> Plan {
    let join = |kind| Join { kind, from: JoinFrom::Sandbox };
    Plan {
        clone_flags: (libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWCGROUP) as u64,
        join: [NamespaceKind::Network, NamespaceKind::Ipc, NamespaceKind::Uts].map(join).to_vec(),
        cgroup: Some(CgroupPlan { path: format!("{cgroup}/{container}"), ..CgroupPlan::default() }),
        ops: ops(),
        program: program(words),
        users: None,
    }
}

pub fn start(container: &str, plan: Plan, log: Option<u32>) -> Start {
    Start {
        container: container.to_owned(),
        plan,
        stdin: Stdin::Null,
        console: Console::Pipes,
        log,
        line_bytes_max: 16 * 1024,
    }
}

/// A program in a running container; output goes to slot 0.
pub fn exec(container: &str, exec: u64, words: &[&str]) -> Exec {
    let join = |kind| Join { kind, from: JoinFrom::Task(container.to_owned()) };
    let kinds = [
        NamespaceKind::Cgroup,
        NamespaceKind::Network,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Pid,
        NamespaceKind::Mount,
    ];
    Exec {
        container: container.to_owned(),
        exec,
        plan: Plan {
            clone_flags: 0,
            join: kinds.map(join).to_vec(),
            cgroup: None,
            ops: vec![Op::NewSession, Op::Chdir { path: "/tmp".to_owned(), create: false }],
            program: program(words),
            users: None,
        },
        stdin: None,
        stdout: Some(0),
        stderr: Some(0),
    }
}
