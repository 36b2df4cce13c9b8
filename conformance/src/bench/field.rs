//! Both servers, each on a ground of its own with a registry of the same images, and the guard that compares in the end.

use super::memory::{SHIMS, make_shims_group};
use super::peer::Peer;
use super::samples::{Pair, Who};
use super::side::Side;
use crate::images::MIRRORED;
use orlop_testkit::guard::Leak;
use orlop_testkit::lab::Surroundings;
use orlop_testkit::shelf::Image;
use orlop_testkit::{Ground, Guard, Node};
use std::io;
use std::sync::Arc;

/// Where the peer's shims go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shims {
    /// Where they go by default: with the daemon.
    Default,
    /// Into a cgroup of their own, so that it can be read.
    OwnGroup,
}

/// Two servers that run. Dropped, also after an error half-way, it ends both and cleans up.
pub struct Field {
    node: Option<Node>,
    surroundings: Option<Surroundings>,
    peer: Option<Peer>,
    peers_ground: Option<Arc<Ground>>,
    guard: Option<Guard>,
}

// === impl Field ===

impl Field {
    /// Starts both.
    pub fn start(images: &[Image], shims: Shims) -> io::Result<Self> {
        let guard = Guard::new();
        let ours = Surroundings::with_images(&guard, images)?;
        ours.mirror(&MIRRORED)?;
        let theirs = Surroundings::with_images(&guard, images)?;
        let mut node = Node::prepare(Arc::clone(&ours.ground), &[]);
        let mut field = Self {
            node: None,
            surroundings: Some(ours),
            peer: None,
            peers_ground: Some(Arc::clone(&theirs.ground)),
            guard: Some(guard),
        };
        node.try_start().map_err(io::Error::other)?;
        field.node = Some(node);
        let more = match shims {
            Shims::Default => String::new(),
            Shims::OwnGroup => own_group(&format!("{}/{SHIMS}", theirs.ground.cgroup()))?,
        };
        field.peer = Some(Peer::start(theirs, &more)?);
        Ok(field)
    }

    /// Returns both sides with a client each.
    pub fn sides(&self) -> Pair<Side> {
        let (node, peer) = (self.node(), self.peer());
        Pair {
            ours: Side {
                who: Who::Ours,
                client: node.client(),
                socket: node.socket(),
                ground: Arc::clone(node.ground()),
                daemon: node.pid(),
            },
            theirs: Side {
                who: Who::Theirs,
                client: peer.client(),
                socket: peer.socket(),
                ground: Arc::clone(&peer.surroundings.ground),
                daemon: peer.pid(),
            },
        }
    }

    /// Returns the peer.
    pub fn peer(&self) -> &Peer {
        self.peer.as_ref().expect("a field that was started has a peer until it ends")
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("a field that was started has a node until it ends")
    }

    /// Ends both, cleans up, and returns what was left of ours; what the peer leaves is its own affair.
    pub fn end(mut self) -> Vec<Leak> {
        self.clean()
    }

    fn clean(&mut self) -> Vec<Leak> {
        drop((self.node.take(), self.peer.take(), self.surroundings.take()));
        match (self.guard.take(), self.peers_ground.take()) {
            (Some(guard), Some(ground)) => guard.finish_except(&ground),
            (Some(guard), None) => guard.finish(),
            (None, _) => Vec::new(),
        }
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        for leak in self.clean() {
            eprintln!("{leak}");
        }
    }
}

/// The one setting that a run for the shims' memory adds to the peer's configuration.
fn own_group(path: &str) -> io::Result<String> {
    make_shims_group(path)?;
    let runtime = "plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc";
    Ok(format!("\n[{runtime}]\nruntime_type = 'io.containerd.runc.v2'\n[{runtime}.options]\nShimCgroup = '{path}'\n"))
}
