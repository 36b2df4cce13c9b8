//! What the containers of a sandbox share: namespaces, `/dev/shm`, a cgroup, and on demand a PID namespace.
//!
//! The shim never enters a namespace of the pod itself. A throw-away child is born in the new ones, sets them up and ends
//! once the shim holds their descriptors.

use crate::error::{Failed, Result, Tried};
use crate::nodes::{Node, namespace};
use crate::pod_init::PodInit;
use crate::shm::Shm;
use orlop_cgroups::{CgroupPath, Hierarchies, Leaf, remove_tree};
use orlop_exec::set_sysctl;
use orlop_sys::child::enter;
use orlop_sys::clone::{Birth, Child, spawn};
use orlop_sys::seqpacket::{self, Waits};
use orlop_wire::frame::{Scope, SetUp};
use orlop_wire::plan::{IdMap, NamespaceKind};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a throw-away child sends when all went well; else it sends which step failed, and the errno.
pub(crate) const WELL: u32 = u32::MAX;
/// Step of a throw-away child that is not a sysctl.
const HOSTNAME: u32 = WELL - 1;
/// Likewise.
const USERS: u32 = WELL - 2;

/// A sandbox that is set up.
#[derive(Debug)]
pub(crate) struct Sandbox {
    cgroup: CgroupPath,
    scopes: [Scope; 3],
    network: OwnedFd,
    ipc: OwnedFd,
    uts: OwnedFd,
    /// Owns the others; `None` is the node's.
    users: Option<OwnedFd>,
    shm: Shm,
    init: Option<PodInit>,
}

// === impl Sandbox ===

impl Sandbox {
    /// Makes everything that its containers share.
    pub(crate) fn set_up(asked: &SetUp, node: &Node, hierarchies: &Hierarchies) -> Result<Self> {
        let cgroup = CgroupPath::parse(&asked.cgroup).tried("set up the sandbox")?;
        let sysctls = check_sysctls(asked)?;
        check_users(asked)?;
        Leaf::create(hierarchies, &cgroup).tried("make the cgroup of the sandbox")?;
        let made =
            make_namespaces(asked, &sysctls, node).and_then(|Made { namespaces: [network, ipc, uts], users }| {
                let root = asked.users.and_then(|map| map.to_node(0)).unwrap_or(0);
                let shm = Shm::make(asked.shm_bytes, root)?;
                let scopes = [asked.network, asked.ipc, asked.uts];
                Ok(Self { cgroup: cgroup.clone(), scopes, network, ipc, uts, users, shm, init: None })
            });
        if made.is_err() {
            // Namespaces went with their descriptors.
            let _ = remove_tree(hierarchies, &cgroup);
        }
        made
    }

    /// Returns its cgroup.
    pub(crate) fn cgroup(&self) -> &CgroupPath {
        &self.cgroup
    }

    /// Returns the `/dev/shm` of the sandbox.
    pub(crate) fn shm(&self) -> &Shm {
        &self.shm
    }

    /// Returns a namespace that its containers share; the PID namespace is [`Self::ensure_init`]'s.
    pub(crate) fn namespace(&self, kind: NamespaceKind) -> Result<BorrowedFd<'_>> {
        let none = |kind: &str| {
            Err(Failed::refused("find a namespace", format_args!("a sandbox has no {kind} namespace"), libc::EINVAL))
        };
        match kind {
            NamespaceKind::Network => Ok(self.network.as_fd()),
            NamespaceKind::Ipc => Ok(self.ipc.as_fd()),
            NamespaceKind::Uts => Ok(self.uts.as_fd()),
            NamespaceKind::Pid => match &self.init {
                Some(init) => Ok(init.pidfd()),
                None => none("PID"),
            },
            NamespaceKind::Mount => none("mount"),
            NamespaceKind::Cgroup => none("cgroup"),
            NamespaceKind::User => match &self.users {
                Some(users) => Ok(users.as_fd()),
                None => none("user"),
            },
        }
    }

    /// Starts the pod's init, unless it runs: the first container that shares processes needs it.
    pub(crate) fn ensure_init(&mut self, hierarchies: &Hierarchies, node: &Node) -> Result<()> {
        if self.init.is_none() {
            let joins = [
                (self.network.as_fd(), libc::CLONE_NEWNET as u64),
                (self.ipc.as_fd(), libc::CLONE_NEWIPC as u64),
                (self.uts.as_fd(), libc::CLONE_NEWUTS as u64),
            ];
            let users = self.users.as_ref().map(AsFd::as_fd);
            self.init = Some(PodInit::start(&self.cgroup, hierarchies, &joins, node.null.as_fd(), users)?);
        }
        Ok(())
    }

    /// Says whether a process is the pod's init.
    pub(crate) fn has_init(&self, pid: u32) -> bool {
        self.init.as_ref().is_some_and(|init| init.pid() == pid)
    }

    /// Returns the network namespace and a socket made inside it.
    pub(crate) fn network(&self) -> Result<[OwnedFd; 2]> {
        let tried = "open a netlink socket in the network namespace of the sandbox";
        let [Scope::New, ..] = self.scopes else {
            return Err(Failed::refused(tried, "the sandbox has the node's", libc::EINVAL));
        };
        // No protocol is NETLINK_ROUTE, which has number 0.
        let open = || socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None);
        let mut sockets = self.sockets(tried, &[&open])?;
        let socket = sockets.pop().ok_or_else(|| Failed::refused(tried, "none came", libc::EBADMSG))?;
        Ok([self.network.try_clone().tried(tried)?, socket])
    }

    /// Returns TCP sockets made inside its network namespace: one of IPv4 and, where the kernel has it, one of IPv6.
    pub(crate) fn tcp_sockets(&self) -> Result<Vec<OwnedFd>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let v4 = move || socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
        let v6 = move || socket_with(AddressFamily::INET6, SocketType::STREAM, flags, None);
        let tried = "make a socket in the network namespace of the sandbox";
        match self.sockets(tried, &[&v4, &v6]) {
            Err(error) if error.errno() == libc::EAFNOSUPPORT => self.sockets(tried, &[&v4]),
            made => made,
        }
    }

    /// Makes sockets in its network namespace, by a throw-away child: the shim never leaves its own.
    fn sockets(&self, tried: &str, open: &[&Open]) -> Result<Vec<OwnedFd>> {
        let (ours, theirs) = seqpacket::pair(Waits::Yes).tried(tried)?;
        let child = spawn(&Birth::default(), || {
            let opened = enter_network(self.network.as_fd())
                .and_then(|()| open.iter().map(|open| open()).collect::<std::result::Result<Vec<_>, _>>());
            match &opened {
                Ok(sockets) => {
                    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
                    say(theirs.as_fd(), WELL, 0, &sockets);
                }
                Err(errno) => say(theirs.as_fd(), 0, errno.raw_os_error(), &[]),
            }
            0
        })
        .tried(tried)?;
        drop(theirs);
        let heard = hear(&ours).tried(tried);
        reap(&child);
        let (step, errno, descriptors) = heard?;
        if step == WELL && descriptors.len() == open.len() {
            return Ok(descriptors);
        }
        Err(Failed::io(tried, &io::Error::from_raw_os_error(errno)))
    }
}

/// Makes one socket. Runs in the throw-away child.
type Open = dyn Fn() -> std::result::Result<OwnedFd, Errno>;

/// Refuses sysctls that would be the node's, and makes the others ready to be written.
fn check_sysctls(asked: &SetUp) -> Result<Vec<(CString, &[u8])>> {
    let foreign = asked.sysctls.iter().find(|(path, _)| !is_own(path, asked));
    if let Some((path, _)) = foreign {
        return Err(Failed::refused(
            format_args!("set sysctl {}", path.replace('/', ".")),
            "it is not separate for this sandbox and would change the node",
            libc::EINVAL,
        ));
    }
    let text = |path: &str| {
        CString::new(format!("sys/{path}")).map_err(|error| Failed::refused("set a sysctl", error, libc::EINVAL))
    };
    asked.sysctls.iter().map(|(path, value)| Ok((text(path)?, value.as_bytes()))).collect()
}

/// Says whether a sysctl belongs to a namespace that the sandbox has for itself. Table: namespaces(7), ipc_namespaces(7).
fn is_own(path: &str, asked: &SetUp) -> bool {
    let within = |scope: Scope| scope == Scope::New;
    match path {
        // The daemon has checked it; a shim that is asked by another would climb out of a namespace's own all the same.
        _ if path.split('/').any(|name| name == "..") => false,
        _ if path.starts_with("net/") => within(asked.network),
        _ if path.starts_with("fs/mqueue/") => within(asked.ipc),
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => within(asked.ipc),
        "kernel/hostname" | "kernel/domainname" => within(asked.uts),
        _ => false,
    }
}

/// Refuses users of the sandbox's own where a namespace is the node's, which they would have no rights in.
fn check_users(asked: &SetUp) -> Result<()> {
    let refuse = |why: &str| Err(Failed::refused("make the users of the sandbox", why, libc::EINVAL));
    match asked.users {
        None => Ok(()),
        Some(map) if map.to_node(0).is_none() => refuse("user 0 is not mapped"),
        Some(_) if [asked.network, asked.ipc, asked.uts].contains(&Scope::Host) => {
            refuse("its network, IPC and host name must be its own too")
        }
        Some(_) => Ok(()),
    }
}

/// Namespaces that were made.
struct Made {
    /// Network, IPC, UTS.
    namespaces: [OwnedFd; 3],
    users: Option<OwnedFd>,
}

/// Makes the new namespaces; of those that are the node's returns the shim's own.
fn make_namespaces(asked: &SetUp, sysctls: &[(CString, &[u8])], node: &Node) -> Result<Made> {
    let tried = "make the namespaces of the sandbox";
    let kinds = [
        (NamespaceKind::Network, asked.network, libc::CLONE_NEWNET),
        (NamespaceKind::Ipc, asked.ipc, libc::CLONE_NEWIPC),
        (NamespaceKind::Uts, asked.uts, libc::CLONE_NEWUTS),
    ];
    let namespaces = kinds.iter().filter(|(_, scope, _)| *scope == Scope::New).fold(0, |all, (_, _, flag)| all | flag);
    let namespaces = namespaces | if asked.users.is_some() { libc::CLONE_NEWUSER } else { 0 };
    let (ours, theirs) = seqpacket::pair(Waits::Yes).tried(tried)?;
    let birth = Birth { namespaces: u64::from(namespaces.unsigned_abs()), cgroup: None };
    let child = spawn(&birth, || {
        // Its ids come from outside.
        if asked.users.is_some() {
            let _ = seqpacket::recv(&theirs, &mut [0; 1]);
        }
        let (step, errno) = settle(asked, sysctls, node);
        say(theirs.as_fd(), step, errno, &[]);
        // The namespaces live on in this process until the shim holds them.
        let _ = seqpacket::recv(&theirs, &mut [0; 1]);
        0
    })
    .tried(tried)?;
    let mapped = asked.users.map_or(Ok(()), |map| map_users(&child, map, node));
    // Also when that failed: it waits.
    if asked.users.is_some() {
        let _ = seqpacket::send(&ours, &[0], &[]);
    }
    let made = hear(&ours).tried(tried).and_then(|(step, errno, _)| {
        mapped?;
        outcome(step, errno, asked)?;
        let process = child.pid.to_string();
        let open = |(kind, scope, _): &(NamespaceKind, Scope, i32)| match scope {
            Scope::New => namespace(*kind, &process),
            Scope::Host => namespace(*kind, "self"),
        };
        Ok(Made {
            namespaces: [open(&kinds[0])?, open(&kinds[1])?, open(&kinds[2])?],
            users: asked.users.map(|_| namespace(NamespaceKind::User, &process)).transpose()?,
        })
    });
    // Quiet when it is gone: then there is nothing to let go.
    let _ = seqpacket::send(&ours, &[0], &[]);
    reap(&child);
    made
}

/// Runs in the throw-away child.
fn settle(asked: &SetUp, sysctls: &[(CString, &[u8])], node: &Node) -> (u32, i32) {
    // Were the shim to die now, nobody would let this process go.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if let Some(hostname) = asked.hostname.as_ref().filter(|_| asked.uts == Scope::New)
        && let Err(errno) = rustix::system::sethostname(hostname.as_bytes())
    {
        return (HOSTNAME, errno.raw_os_error());
    }
    let mut later = Vec::new();
    for (at, (path, value)) in (0..).zip(sysctls) {
        match set_sysctl(node.proc.as_fd(), path, value) {
            Ok(()) => {}
            // Whose a sysctl is in a user namespace differs from one to another, and from kernel to kernel.
            Err(Errno::ACCESS | Errno::PERM) if asked.users.is_some() => later.push((at, path, value)),
            Err(errno) => return (at, errno.raw_os_error()),
        }
    }
    if asked.users.is_some()
        && let Err(error) = orlop_sys::child::become_user(0, 0, &[])
    {
        return (USERS, error.raw_os_error().unwrap_or(libc::EIO));
    }
    for (at, path, value) in later {
        if let Err(errno) = set_sysctl(node.proc.as_fd(), path, value) {
            return (at, errno.raw_os_error());
        }
    }
    (WELL, 0)
}

/// Writes the ids of a throw-away child's user namespace. user_namespaces(7)
fn map_users(child: &Child, map: IdMap, node: &Node) -> Result<()> {
    let line = format!("{} {} {}", map.inside, map.node, map.count);
    for name in ["uid_map", "gid_map"] {
        let path = format!("{}/{name}", child.pid);
        let file = openat(&node.proc, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        // All of it at once: the kernel takes one write.
        let written = file.and_then(|file| rustix::io::write(file, line.as_bytes()));
        written.tried(format_args!("map ids {line:?} of the sandbox's users"))?;
    }
    Ok(())
}

fn outcome(step: u32, errno: i32, asked: &SetUp) -> Result<()> {
    let error = || io::Error::from_raw_os_error(errno);
    let sysctl = || asked.sysctls.get(usize::try_from(step).unwrap_or(usize::MAX));
    match step {
        WELL => Ok(()),
        USERS => Err(Failed::io("become the root of the sandbox's users", &error())),
        HOSTNAME => Err(Failed::io(format_args!("set the host name to {:?}", asked.hostname), &error())),
        _ => {
            let (path, value) = sysctl().map_or(("", ""), |(path, value)| (path.as_str(), value.as_str()));
            Err(Failed::io(format_args!("set sysctl {} to {value:?}", path.replace('/', ".")), &error()))
        }
    }
}

fn enter_network(network: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    enter(network, libc::CLONE_NEWNET as u64).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Sends a step and an errno. Runs in a child, which has nobody to tell of a failure.
pub(crate) fn say(socket: BorrowedFd<'_>, step: u32, errno: i32, descriptors: &[BorrowedFd<'_>]) {
    let mut message = [0; 8];
    message[..4].copy_from_slice(&step.to_le_bytes());
    message[4..].copy_from_slice(&errno.to_le_bytes());
    let _ = seqpacket::send(socket, &message, descriptors);
}

pub(crate) fn hear(socket: &OwnedFd) -> io::Result<(u32, i32, Vec<OwnedFd>)> {
    let mut message = [0; 8];
    let received = seqpacket::recv(socket, &mut message)?;
    if received.bytes != message.len() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the process that makes them ended early"));
    }
    let [a, b, c, d, errno @ ..] = message;
    Ok((u32::from_le_bytes([a, b, c, d]), i32::from_le_bytes(errno), received.descriptors))
}

/// Waits for a throw-away child, which is about to end.
pub(crate) fn reap(child: &Child) {
    let _ = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(network: Scope, ipc: Scope) -> SetUp {
        SetUp {
            hostname: None,
            network,
            ipc,
            uts: Scope::New,
            sysctls: Vec::new(),
            cgroup: "/x".to_owned(),
            shm_bytes: 4096,
            users: None,
        }
    }

    #[test]
    fn sysctl_is_the_sandboxs_own_only_in_a_namespace_of_its_own() {
        let own = asked(Scope::New, Scope::New);
        let node = asked(Scope::Host, Scope::Host);
        for (path, expected) in [
            ("net/ipv4/ip_forward", true),
            ("fs/mqueue/msg_max", true),
            ("kernel/shmmax", true),
            ("kernel/core_pattern", false),
            ("kernel/shmmax/../core_pattern", false),
            ("net/../kernel/core_pattern", false),
            ("vm/swappiness", false),
        ] {
            assert_eq!(is_own(path, &own), expected, "{path}");
            assert!(!is_own(path, &node), "{path}");
        }
    }
}
