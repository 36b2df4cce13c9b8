//! Killed at every effect: the daemon exports what each operation consists of (`orlopd --effects`), and for each effect, before and
//! after it and at every time it comes, the daemon is killed there and started again, the same request is made again and must be
//! served, and nothing may be left. The same with the shim, and with the spawner, killed while the daemon stands there.
//!
//! A scenario is one way to do an operation; `scenario` has them all. An effect that no scenario comes by fails the run.
#![allow(clippy::unwrap_used, reason = "this program is all tests")]

mod alone;
mod daemon;
mod helpers;
mod http;
mod scenario;
mod stage;

use serde::Deserialize;
use std::process::Command;

/// An operation as the daemon exports it.
#[derive(Deserialize)]
pub struct Operation {
    /// Its name.
    pub operation: String,
    /// Its effects, by name.
    pub effects: Vec<String>,
}

/// Asks the daemon which effects there are.
pub fn operations() -> Vec<Operation> {
    let output = Command::new(orlop_testkit::node::binary("orlopd")).arg("--effects").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the effects of one operation.
pub fn effects(operation: &str) -> Vec<String> {
    let found = operations().into_iter().find(|exported| exported.operation == operation);
    found.unwrap_or_else(|| panic!("the daemon exports no operation {operation}")).effects
}

#[test]
fn every_exported_operation_has_a_scenario_and_every_scenario_an_operation() {
    let mut exported: Vec<_> = operations().into_iter().map(|exported| exported.operation).collect();
    let mut tried: Vec<_> = scenario::all().map(|scenario| scenario.operation.to_owned()).collect();
    exported.sort();
    tried.sort();
    tried.dedup();
    assert_eq!(exported, tried);
}
