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
/// Our Docker socket on the ground.
const SOCKET: &str = "run/docker.sock";

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// Ours.
    #[default]
    Orlop,
    /// Debian testing's dockerd: a suite that fails there, too, is wrong itself.
    Dockerd,
}

/// A Docker daemon on a ground, with a registry that answers for docker.io. Dropped, also half-way, it ends and cleans up.
pub struct Subject {
    which: Which,
    ground: Arc<Ground>,
    orlop: Option<Orlop>,
    dockerd: Option<Dockerd>,
    guard: Option<Guard>,
}

/// Our daemon. Its parts are dropped in this order.
struct Orlop {
    node: Node,
    _surroundings: Surroundings,
}

// === impl Subject ===

impl Subject {
    /// Starts it, with a registry that holds the images.
    pub fn start(which: Which, images: &[Image]) -> io::Result<Self> {
        let guard = Guard::new();
        let surroundings = Surroundings::with_images(&guard, images)?;
        let ground = Arc::clone(&surroundings.ground);
        let mut subject = Self { which, ground, orlop: None, dockerd: None, guard: Some(guard) };
        match which {
            Which::Orlop => {
                surroundings.mirror(&MIRRORED)?;
                let socket = subject.socket().display().to_string();
                let node = Node::prepare(Arc::clone(&subject.ground), &[("--docker-socket", &socket)]);
                let orlop = subject.orlop.insert(Orlop { node, _surroundings: surroundings });
                orlop.node.try_start().map_err(io::Error::other)?;
            }
            Which::Dockerd => subject.dockerd = Some(Dockerd::start(surroundings)?),
        }
        Ok(subject)
    }

    /// Returns its ground.
    pub fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.ground.join(SOCKET)
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

    /// Ends it, cleans up, and returns what was left: of the peer only outside its ground, which is its own affair.
    pub fn end(mut self) -> Vec<Leak> {
        self.clean()
    }

    fn clean(&mut self) -> Vec<Leak> {
        if self.orlop.is_some() {
            // The node itself drains only pods.
            let _ = self.clear();
        }
        drop((self.orlop.take(), self.dockerd.take()));
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
