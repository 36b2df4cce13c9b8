//! The peer: dockerd, containerd and runc of Debian testing, on a ground of their own.

use super::client::Client;
use crate::root;
use orlop_testkit::debian_tree::DebianTree;
use orlop_testkit::lab::Surroundings;
use orlop_testkit::local_registry::ADDRESS;
use orlop_testkit::{Ground, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The suite: what is newest in Debian without being broken.
const SUITE: &str = "testing";
/// What is fetched; apt adds what these need. `docker top` runs ps.
const PACKAGES: [&str; 7] = ["docker.io", "docker-cli", "containerd", "runc", "iptables", "nftables", "procps"];
/// The packages whose versions a reader wants to know.
const TOLD: [&str; 4] = ["docker.io", "containerd", "runc", "iptables"];
/// Folders of the ground, and where the peer has them: so its own configuration can be nearly the default one.
const PLACES: [(&str, &str); 3] = [("run", "/run"), ("root", "/var/lib/docker"), ("etc/docker", "/etc/docker")];
/// Folders that the tree must have for that.
const FOLDERS: [&str; 2] = ["var/lib/docker", "etc/docker"];
/// Where its socket is on the ground.
const SOCKET: &str = "run/docker.sock";
/// The longest until it answers.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// The longest from SIGTERM to its end: it gives containers ten seconds.
const END_LIMIT: Duration = Duration::from_secs(40);
/// How many lines of its log are shown when it does not start.
const LOG_LINES: usize = 20;

/// dockerd while it runs. Dropped, it removes its containers and ends; what it leaves then is cleaned up with the ground.
pub struct Dockerd {
    daemon: Child,
    tree: DebianTree,
    /// Its ground and registry.
    pub surroundings: Surroundings,
}

// === impl Dockerd ===

impl Dockerd {
    /// Starts it and waits until it answers.
    pub fn start(surroundings: Surroundings) -> io::Result<Self> {
        let tree = tree()?;
        let ground = &surroundings.ground;
        configure(ground)?;
        let log = File::create(ground.join(LOG))?;
        // Were this program killed, dockerd would get SIGTERM, and end its containers and its containerd.
        let mut command = ground.command("setpriv");
        command.args(["--pdeathsig", "TERM", "unshare"]);
        root::enter(&mut command, &tree.root, ground.path(), &PLACES)?;
        command.arg("dockerd");
        // Its temporary files are below its data.
        command.env_remove("TMPDIR");
        let daemon = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        // From here on dropping it ends the process.
        let mut dockerd = Self { daemon, tree, surroundings };
        dockerd.wait_until_ready()?;
        Ok(dockerd)
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.surroundings.ground.join(SOCKET)
    }

    /// Returns the packages it consists of, with their versions.
    pub fn versions(&self) -> String {
        let told: Vec<String> = TOLD.iter().map(|name| format!("{name} {}", self.tree.version(name))).collect();
        told.join(", ")
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let client = Client::new(&self.socket())?;
        let ready = wait_for(READY_LIMIT, || {
            if let Ok(Some(status)) = self.daemon.try_wait() {
                return Some(Err(format!("ended with {status}")));
            }
            client.answers().then_some(Ok(()))
        });
        match ready {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(self.not_started(&why)),
            None => Err(self.not_started(&format!("does not answer after {READY_LIMIT:?}"))),
        }
    }

    fn not_started(&self, why: &str) -> io::Error {
        let log = fs::read_to_string(self.surroundings.ground.join(LOG)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        io::Error::other(format!("start dockerd: it {why}; its last lines:\n{tail}"))
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

/// Its log on the ground.
pub const LOG: &str = "dockerd.log";

impl Drop for Dockerd {
    fn drop(&mut self) {
        if matches!(self.daemon.try_wait(), Ok(None)) {
            // Faster than what it does itself on SIGTERM.
            let _ = Client::new(&self.socket()).and_then(|client| client.remove_containers());
            self.terminate();
        }
    }
}

/// Returns the tree, with what the scripts of its packages would have added.
pub fn tree() -> io::Result<DebianTree> {
    let tree = DebianTree::of(SUITE, &PACKAGES, &FOLDERS)?;
    tree.link_iptables()?;
    Ok(tree)
}

/// Writes its configuration to where it will see it.
fn configure(ground: &Ground) -> io::Result<()> {
    let folder = ground.join("etc/docker");
    fs::create_dir_all(&folder)?;
    let config = json!({
        "hosts": ["unix:///run/docker.sock"],
        // What docker.io holds is in the ground's registry.
        "registry-mirrors": [format!("http://{ADDRESS}")],
        "cgroup-parent": ground.cgroup(),
        // Ports lead in by the kernel alone, as ours do: its proxy would also take connections over IPv6 to containers
        // that have no such address.
        "userland-proxy": false,
    });
    fs::write(folder.join("daemon.json"), config.to_string())
}
