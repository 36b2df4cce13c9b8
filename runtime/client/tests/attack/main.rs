//! Attacks that worked on other runtimes, tried on the real client, spawner and shim: one test each.
//!
//! docs/security/attacks.md says which attack each test is, and what is not tried yet. The root file systems are assembled
//! by the tests, as hostile as they can be. Needs root and a cgroup file system.
#![allow(clippy::unwrap_used, reason = "a test that can't go on says so at once, in its helpers too")]

mod bounds;
mod confined;
mod ground;
mod inner_root;
mod node;
mod paths;
mod process;
#[path = "../real/support.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use more of it")]
mod support;
mod users;

/// Makes a test's ground; skips a test that can't have it, and says so.
macro_rules! up {
    ($name:expr) => {
        if rustix::process::geteuid().is_root() {
            crate::ground::Ground::new($name).await
        } else {
            eprintln!("skipped: needs root");
            return;
        }
    };
}
pub(crate) use up;
