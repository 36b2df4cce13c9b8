//! What the core needs of the world. Each port has two real implementations, the adapter and the simulator.
//!
//! Every method may be called again after a crash between two steps, and must then be quiet. All answer in bounded time:
//! the adapter owns the bound and its name. Methods return boxed futures, so that ports can be trait objects.

mod clock;
mod failpoints;
mod images;
mod network;
mod records;
mod runtime;

pub use clock::Clock;
pub use failpoints::{Failpoints, Unhindered, Verdict};
pub use images::{Images, PullListener, Unheard};
pub use network::Network;
pub use records::Records;
pub use runtime::{
    Exec, ExecEnded, ExecIo, ExecOutput, ExecOverrides, Launched, NetworkNamespace, Observed, ObservedTask, OpenExec,
    Runtime, RuntimeListener, Start, Update,
};

use crate::error::{Failure, Result};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A future that a port returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// All ports, as the use cases hold them.
#[derive(Clone)]
pub struct Ports {
    /// Sandboxes and processes.
    pub runtime: Arc<dyn Runtime>,
    /// Images and root file systems.
    pub images: Arc<dyn Images>,
    /// Networks.
    pub network: Arc<dyn Network>,
    /// Records.
    pub records: Arc<dyn Records>,
    /// Time, randomness, tasks.
    pub clock: Arc<dyn Clock>,
    /// Where tests interfere.
    pub failpoints: Arc<dyn Failpoints>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}

/// What a part answers that does not have this yet.
fn not_built<T>(what: &'static str) -> Answer<'static, Result<T>> {
    let failure = Failure::new(crate::error::ErrorKind::Unsupported, format!("{what} is not built yet in orlop"));
    Box::pin(async move { Err(failure) })
}

/// A failure that a port's caller can't be blamed for.
#[must_use]
pub fn internal(message: impl Into<String>) -> Failure {
    Failure::new(crate::error::ErrorKind::Internal, message)
}
