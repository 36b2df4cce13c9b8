//! The peer: containerd, runc and the CNI plugins of Debian testing, on a ground of their own.

use crate::images::MIRRORED;
use crate::root;
use orlop_testkit::client::{Client, v1};
use orlop_testkit::debian_tree::DebianTree;
use orlop_testkit::lab::Surroundings;
use orlop_testkit::{Ground, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// The suite: what is newest in Debian without being broken.
const SUITE: &str = "testing";
/// What is fetched; apt adds what these need.
const PACKAGES: [&str; 5] = ["containerd", "runc", "containernetworking-plugins", "iptables", "nftables"];
/// The packages whose versions a reader wants to know.
const TOLD: [&str; 4] = ["containerd", "runc", "containernetworking-plugins", "iptables"];
/// Folders of the ground, and where the peer has them: so its own configuration can be the default one.
const PLACES: [(&str, &str); 5] = [
    ("run", "/run"),
    ("root", "/var/lib/containerd"),
    ("ipam", "/var/lib/cni"),
    ("etc/containerd", "/etc/containerd"),
    ("etc/net.d", "/etc/cni/net.d"),
];
/// Folders that the tree must have for that.
const FOLDERS: [&str; 4] = ["var/lib/containerd", "var/lib/cni", "etc/containerd", "etc/cni/net.d"];
/// containerd's configuration and that of its network.
const CONFIG: &str = include_str!("containerd.toml");
const NETWORK: &str = include_str!("10-bridge.conflist");
/// Where its socket is on the ground.
const SOCKET: &str = "run/containerd/containerd.sock";
/// The longest until it answers.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// The longest from SIGTERM to its end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// The cgroup in which it puts pods that name no parent, and where hierarchies are.
const OWN_CGROUP: &str = "k8s.io";
const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// How many lines of its log are shown when it does not start.
const LOG_LINES: usize = 20;

/// containerd while it runs. Dropped, it removes its pods and ends; what it leaves then is cleaned up with the ground.
pub struct Peer {
    daemon: Child,
    tree: DebianTree,
    /// Cgroups that it may make and that were not there before.
    cgroups: Vec<PathBuf>,
    /// Its ground and registry.
    pub surroundings: Surroundings,
}

// === impl Peer ===

impl Peer {
    /// Starts it; `more` is added to its configuration.
    pub fn start(surroundings: Surroundings, more: &str) -> io::Result<Self> {
        let tree = tree()?;
        let ground = &surroundings.ground;
        surroundings.mirror(&MIRRORED)?;
        configure(ground, more)?;
        let cgroups = own_cgroups().into_iter().filter(|folder| !folder.exists()).collect();
        let log = File::create(ground.join("peer.log"))?;
        let mut command = ground.command("unshare");
        root::enter(&mut command, &tree.root, ground.path(), &PLACES)?;
        command.args(["containerd", "--config", "/etc/containerd/config.toml"]);
        // Its temporary files are inside, on the ground.
        let daemon = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        // From here on dropping it ends the process.
        let mut peer = Self { daemon, tree, cgroups, surroundings };
        peer.wait_until_ready()?;
        Ok(peer)
    }

    /// Returns a client of it.
    pub fn client(&self) -> Client {
        Client::new(&self.socket())
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.surroundings.ground.join(SOCKET)
    }

    /// Returns the process id of the daemon.
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Returns the packages it consists of, with their versions.
    pub fn versions(&self) -> String {
        let told: Vec<String> = TOLD.iter().map(|name| format!("{name} {}", self.tree.version(name))).collect();
        told.join(", ")
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let client = self.client();
        let ready = wait_for(READY_LIMIT, || {
            if let Ok(Some(status)) = self.daemon.try_wait() {
                return Some(Err(format!("ended with {status}")));
            }
            let status = client.status(v1::StatusRequest::default()).ok()?.status?;
            status.conditions.iter().all(|condition| condition.status).then_some(Ok(()))
        });
        match ready {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(self.not_started(&why)),
            None => Err(self.not_started(&format!("is not ready after {READY_LIMIT:?}"))),
        }
    }

    fn not_started(&self, why: &str) -> io::Error {
        let log = fs::read_to_string(self.surroundings.ground.join("peer.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        io::Error::other(format!("start containerd: it {why}; its last lines:\n{tail}"))
    }

    /// Stops and removes every pod. Goes on after an error: the ground is cleaned up anyway.
    fn drain(&self) {
        let client = self.client();
        let pods = client.list_pod_sandbox(v1::ListPodSandboxRequest::default()).map(|list| list.items);
        for pod in pods.unwrap_or_default() {
            let _ = client.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: pod.id.clone() });
            let _ = client.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: pod.id });
        }
    }

    fn terminate(&mut self) {
        if let Some(pid) = i32::try_from(self.daemon.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if wait_for(END_LIMIT, || self.daemon.try_wait().ok().flatten()).is_none() {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if matches!(self.daemon.try_wait(), Ok(None)) {
            self.drain();
            self.terminate();
        }
        // Those that other pods live in refuse.
        for folder in &self.cgroups {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Returns the tree, with what the scripts of its packages would have added.
fn tree() -> io::Result<DebianTree> {
    let tree = DebianTree::of(SUITE, &PACKAGES, &FOLDERS)?;
    tree.link_iptables()?;
    Ok(tree)
}

/// Writes its configuration to where it will see it.
fn configure(ground: &Ground, more: &str) -> io::Result<()> {
    let [own, network] = [ground.join("etc/containerd"), ground.join("etc/net.d")];
    for folder in [&own, &network] {
        fs::create_dir_all(folder)?;
    }
    fs::write(own.join("config.toml"), format!("{CONFIG}{more}"))?;
    fs::write(network.join("10-bridge.conflist"), NETWORK)?;
    // The registry is told to it as it is to ours.
    fs::rename(ground.join("certs.d"), own.join("certs.d"))
}

/// Returns where it may make a cgroup of its own: in each hierarchy, or in the only one.
fn own_cgroups() -> Vec<PathBuf> {
    let root = Path::new(CGROUP_ROOT);
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(OWN_CGROUP)).collect()
}
