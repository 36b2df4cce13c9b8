//! What every implementation of a port must do, as tests. The simulator and the real adapter of each port run the same ones, so
//! that what holds in a simulation holds on a node.
//!
//! Not for production code: everything here panics when a contract is broken. Each port has a module of contracts, a trait for
//! what they stand on, and a macro that writes one test for each: `orlop_contract::records!([tokio::test], ground)`, where
//! `ground!(name)` makes a fresh ground. Start at [`records`]. A contract is stated once, in the name of its function.
#![allow(clippy::unwrap_used, reason = "tests; a port that fails where it must not ends the test")]

pub mod clock;
pub mod images;
pub mod network;
pub mod objects;
pub mod records;
pub mod runtime;
#[doc(hidden)]
pub use runtime::streams as runtime_streams;

use std::time::Duration;

/// The longest that anything may take that is announced by nobody: real programs on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits for a condition, with a deadline.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, found).await.unwrap_or_else(|_| panic!("waited {WAIT_MAX:?} for {what}"))
}

/// Writes one test for each of the contracts named. What the macros of the ports expand to.
#[doc(hidden)]
#[macro_export]
macro_rules! suite {
    ($port:ident, $test:tt, $ground:ident, $($name:ident)*) => {
        $(
            # $test
            async fn $name() {
                $crate::$port::$name($ground!(stringify!($name))).await;
            }
        )*
    };
}
