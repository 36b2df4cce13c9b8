//! What is under the kubelet: our daemon, or the peer that proves the suite.

use crate::bench::peer::Peer;
use crate::images::MIRRORED;
use crate::subject::Which;
use orlop_testkit::lab::Surroundings;
use orlop_testkit::{Client, Ground, Node};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A CRI server with the registry that it pulls from. Dropped, it removes its pods and ends.
pub enum Runtime {
    /// Ours.
    Orlop {
        /// The daemon.
        node: Node,
        /// Ended after it.
        _surroundings: Surroundings,
    },
    /// containerd of Debian testing, in a file tree of its own.
    Peer(Box<Peer>),
}

// === impl Runtime ===

impl Runtime {
    /// Starts it on the ground.
    pub fn start(which: Which, surroundings: Surroundings) -> io::Result<Self> {
        match which {
            Which::Orlop => {
                surroundings.mirror(&MIRRORED)?;
                let ground = Arc::clone(&surroundings.ground);
                // Beside what the kubelet makes, below the group that all of the ground lies in.
                let cgroup = format!("{}/orlop", ground.cgroup());
                let mut node = Node::prepare(ground, &[("--cgroup-root", &cgroup)]);
                node.try_start().map_err(io::Error::other)?;
                Ok(Self::Orlop { node, _surroundings: surroundings })
            }
            Which::Containerd => {
                share_mounts(&surroundings.ground)?;
                Ok(Self::Peer(Box::new(Peer::start(surroundings, "")?)))
            }
        }
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> PathBuf {
        match self {
            Self::Orlop { node, .. } => node.socket(),
            Self::Peer(peer) => peer.socket(),
        }
    }

    /// Returns a client of it.
    pub fn client(&self) -> Client {
        Client::new(&self.socket())
    }

    /// Describes it for a person.
    pub fn describe(&self) -> String {
        match self {
            Self::Orlop { node, .. } => format!("orlopd, pid {}", node.pid()),
            Self::Peer(peer) => format!("{}, pid {}", peer.versions(), peer.pid()),
        }
    }

    /// Kills it with SIGKILL. The peer isn't: its scenario is skipped.
    pub fn kill(&mut self) -> Result<(), String> {
        match self {
            Self::Orlop { node, .. } => {
                node.kill();
                Ok(())
            }
            Self::Peer(_) => Err("the peer is not killed".to_owned()),
        }
    }

    /// Starts it again.
    pub fn start_again(&mut self) -> Result<(), String> {
        match self {
            Self::Orlop { node, .. } => node.try_start().map(|_| ()),
            Self::Peer(_) => Err("the peer is not started again".to_owned()),
        }
    }

    /// Says whether what it leaves behind is its own affair.
    pub fn is_peer(&self) -> bool {
        matches!(self, Self::Peer(_))
    }

    /// Removes what the kubelet left on it, and ends it; returns what went wrong.
    pub fn end(self) -> Vec<String> {
        match self {
            Self::Orlop { mut node, .. } => {
                let drained = node.drain().err().map(|status| format!("remove what the kubelet left: {status}"));
                drained.into_iter().chain(node.try_end().err()).collect()
            }
            // Dropping it does both.
            Self::Peer(_) => Vec::new(),
        }
    }
}

/// Lets mounts that the kubelet makes on the ground reach the peer's own mount namespace.
fn share_mounts(ground: &Ground) -> io::Result<()> {
    mount_bind(ground.path(), ground.path())?;
    Ok(mount_change(ground.path(), MountPropagationFlags::SHARED)?)
}
