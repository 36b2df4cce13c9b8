//! The adapter over the real spawner and shim. Needs root, a cgroup file system, and the shim binary, which it builds.
#![allow(clippy::unwrap_used, reason = "a test that can't go on says so at once, in its helpers too")]

mod changes;
mod container;
mod contract;
mod exec;
mod sandbox;
mod sharing;
mod streams;
#[allow(dead_code, reason = "shared with the attacks, which use more of it")]
mod support;
mod users;

/// Makes a test's ground; skips a test that can't have it, and says so.
macro_rules! world {
    ($name:expr) => {
        if rustix::process::geteuid().is_root() {
            crate::support::World::new($name)
        } else {
            eprintln!("skipped: needs root");
            return;
        }
    };
}
pub(crate) use world;
