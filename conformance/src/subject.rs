//! What a suite is run against: our daemon, or the peer that proves the suite.

use crate::images::MIRRORED;
use orlop_testkit::debian::package;
use orlop_testkit::lab::Surroundings;
use orlop_testkit::node::wait_for_socket;
use orlop_testkit::shelf::Image;
use orlop_testkit::{Ground, Guard, Lab};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The longest until the peer accepts connections.
const PEER_READY_LIMIT: Duration = Duration::from_secs(30);

/// A CRI server on a ground, with a registry that answers for the mirrored ones.
pub enum Subject {
    /// Ours.
    Orlop(Lab),
    /// Debian's containerd and runc.
    Peer(Peer),
}

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// Ours.
    #[default]
    Orlop,
    /// Debian's containerd and runc: a suite that fails there, too, is wrong itself.
    Containerd,
}

impl Subject {
    /// Starts it, with a registry that holds the images.
    pub fn start(which: Which, images: &[Image]) -> io::Result<Self> {
        match which {
            Which::Orlop => Ok(Self::Orlop(Lab::with_images(images, &MIRRORED)?)),
            Which::Containerd => Ok(Self::Peer(Peer::start(images)?)),
        }
    }

    /// Returns its ground.
    pub fn ground(&self) -> &Arc<Ground> {
        match self {
            Self::Orlop(lab) => lab.node.ground(),
            Self::Peer(peer) => &peer.surroundings.ground,
        }
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> PathBuf {
        match self {
            Self::Orlop(lab) => lab.node.socket(),
            Self::Peer(peer) => peer.surroundings.ground.join("run/peer.sock"),
        }
    }

    /// Returns the name it gives itself.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Orlop(_) => "orlop",
            Self::Peer(_) => "containerd",
        }
    }

    /// Returns the name of its log on the ground.
    pub fn log(&self) -> &'static str {
        match self {
            Self::Orlop(_) => "orlopd.log",
            Self::Peer(_) => "peer.log",
        }
    }
}

/// containerd, run from unpacked packages. Its parts are dropped in this order.
pub struct Peer {
    daemon: Child,
    surroundings: Surroundings,
    guard: Option<Guard>,
}

impl Peer {
    fn start(images: &[Image]) -> io::Result<Self> {
        let guard = Guard::new();
        let surroundings = Surroundings::with_images(&guard, images)?;
        surroundings.mirror(&MIRRORED)?;
        let ground = Arc::clone(&surroundings.ground);
        let [containerd, runc] = [package("containerd")?.join("usr/bin"), package("runc")?.join("usr/sbin")];
        let plugins = package("containernetworking-plugins")?.join("usr/lib/cni");
        let config = ground.join("peer.toml");
        fs::write(&config, containerd_config(&ground, &runc, &plugins))?;
        fs::create_dir_all(ground.join("net.d"))?;
        fs::write(ground.join("net.d/10-peer.conflist"), network_config(&ground))?;
        let log = File::create(ground.join("peer.log"))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let daemon = ground
            .command(containerd.join("containerd"))
            .arg("--config")
            .arg(&config)
            .env("PATH", format!("{}:{}:{path}", containerd.display(), runc.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let peer = Self { daemon, surroundings, guard: Some(guard) };
        wait_for_socket(PEER_READY_LIMIT, &ground.join("run/peer.sock"));
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.daemon.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.daemon.wait();
        // What the peer leaves is its own affair; the guard only cleans it up.
        let _ = self.guard.take().map(Guard::finish);
    }
}

fn containerd_config(ground: &Ground, runc: &Path, plugins: &Path) -> String {
    let path = |name: &str| ground.join(name).display().to_string();
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs"]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "registry.k8s.io/pause:3.9"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{net}"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{certs}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{runc}"
"#,
        root = path("root/peer"),
        state = path("run/peer"),
        socket = path("run/peer.sock"),
        net = path("net.d"),
        certs = path("certs.d"),
        plugins = plugins.display(),
        runc = runc.join("runc").display(),
    )
}

fn network_config(ground: &Ground) -> String {
    let ipam = ground.join("ipam").display().to_string();
    serde_json::json!({
        "cniVersion": "1.0.0", "name": "peer",
        "plugins": [{
            "type": "bridge", "bridge": "peer0", "isGateway": true,
            "ipam": {"type": "host-local", "dataDir": ipam, "ranges": [[{"subnet": "10.87.0.0/16"}]]},
        }],
    })
    .to_string()
}
