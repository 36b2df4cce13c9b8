//! What the suites are run against: our daemon, or the peer from which the expected output was recorded.

use super::client::Client;
use super::dockerd::{self, Dockerd};
use orlop_testkit::guard::Leak;
use orlop_testkit::lab::Surroundings;
use orlop_testkit::shelf::Image;
use orlop_testkit::{Ground, Guard, Node};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The registry that the suites name, or mean when they name none.
const MIRRORED: [&str; 1] = ["docker.io"];
/// The Docker socket on the ground: that of the peer is there, too.
const SOCKET: &str = "run/docker.sock";
/// Where ours shows its metrics.
const METRICS: &str = "run/metrics.sock";

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// Ours.
    #[default]
    Orlop,
    /// Debian testing's dockerd: a suite that fails there, too, is wrong itself.
    Dockerd,
}

/// A Docker daemon on a ground, with a registry that answers for docker.io. Dropped, it removes what it holds and ends.
pub struct Daemon {
    which: Which,
    ground: Arc<Ground>,
    orlop: Option<Orlop>,
    dockerd: Option<Dockerd>,
}

/// Our daemon. Its parts are dropped in this order.
struct Orlop {
    node: Node,
    _surroundings: Surroundings,
}

// === impl Daemon ===

impl Daemon {
    /// Starts it, with a registry that holds the images.
    pub fn start(which: Which, guard: &Guard, images: &[Image]) -> io::Result<Self> {
        let surroundings = Surroundings::with_images(guard, images)?;
        let ground = Arc::clone(&surroundings.ground);
        let mut daemon = Self { which, ground, orlop: None, dockerd: None };
        match which {
            Which::Orlop => {
                surroundings.mirror(&MIRRORED)?;
                let path = |name: &str| daemon.ground.join(name).display().to_string();
                let (socket, metrics) = (path(SOCKET), path(METRICS));
                let settings = [("--docker-socket", socket.as_str()), ("--metrics-listen", &metrics)];
                let node = Node::prepare(Arc::clone(&daemon.ground), &settings);
                let orlop = daemon.orlop.insert(Orlop { node, _surroundings: surroundings });
                orlop.node.try_start().map_err(io::Error::other)?;
            }
            Which::Dockerd => daemon.dockerd = Some(Dockerd::start(surroundings)?),
        }
        Ok(daemon)
    }

    /// Returns its ground.
    pub fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.ground.join(SOCKET)
    }

    /// Returns the path of the socket on which our daemon shows its metrics.
    pub fn metrics(&self) -> PathBuf {
        self.ground.join(METRICS)
    }

    /// Returns what it consists of, for a reader.
    pub fn versions(&self) -> String {
        match &self.dockerd {
            Some(dockerd) => format!("Debian testing: {}", dockerd.versions()),
            None => "orlopd of this tree".to_owned(),
        }
    }

    /// Returns the name of its log on the ground.
    pub fn log(&self) -> &'static str {
        match self.which {
            Which::Orlop => "orlopd.log",
            Which::Dockerd => dockerd::LOG,
        }
    }

    /// Removes every container, and then every image.
    pub fn clear(&self) -> io::Result<()> {
        let client = Client::new(&self.socket())?;
        client.remove_containers()?;
        client.remove_images()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.orlop.is_some() {
            // The node itself drains only pods.
            let _ = self.clear();
        }
        drop((self.orlop.take(), self.dockerd.take()));
    }
}

/// A daemon and the guard that compares in the end. Dropped, also half-way, it ends and cleans up.
pub struct Subject {
    daemon: Option<Daemon>,
    ground: Arc<Ground>,
    which: Which,
    guard: Option<Guard>,
}

// === impl Subject ===

impl Subject {
    /// Starts it, with a registry that holds the images.
    pub fn start(which: Which, images: &[Image]) -> io::Result<Self> {
        let guard = Guard::new();
        let daemon = Daemon::start(which, &guard, images)?;
        Ok(Self { ground: Arc::clone(daemon.ground()), daemon: Some(daemon), which, guard: Some(guard) })
    }

    /// Returns the daemon.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("a subject that was started has a daemon until it ends")
    }

    /// Ends it, cleans up, and returns what was left: of the peer only outside its ground, which is its own affair.
    pub fn end(mut self) -> Vec<Leak> {
        self.clean()
    }

    fn clean(&mut self) -> Vec<Leak> {
        drop(self.daemon.take());
        match (self.guard.take(), self.which) {
            (Some(guard), Which::Orlop) => guard.finish(),
            (Some(guard), Which::Dockerd) => guard.finish_except(&self.ground),
            (None, _) => Vec::new(),
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        for leak in self.clean() {
            eprintln!("{leak}");
        }
    }
}
