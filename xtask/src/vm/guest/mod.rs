//! The first process of the machine: makes a place for tests, runs them, powers off.
//!
//! The root is the host's own tree, read-only; whatever is written goes to memory. It reaps whatever loses its parent, as
//! the guard of the tests counts zombies.

mod modules;
mod mounts;
mod work;

use super::Outcome;
use super::jobs::Orders;
use super::verdict::{self, LAST};
use crate::ring::Tally;
use rustix::system::{RebootCommand, reboot};
use std::path::Path;
use std::process::ExitCode;

/// Where settings of orlopd are that every job finds.
const SETTINGS_FILE: &str = "/run/orlopd.toml";
/// This kernel has no address translation by nf_tables: neither the `inet` family nor `nat`.
const SETTINGS: &str = "nat = \"off\"\n";

/// Runs as the first process. Never returns in the machine.
pub fn run(orders: &Path) -> ExitCode {
    // Elsewhere it would mount over the folders of the host.
    if std::process::id() != 1 {
        eprintln!("vm-guest is the first process of the machine that vm-test boots, and nothing else");
        return ExitCode::FAILURE;
    }
    if let Err(why) = try_run(orders) {
        println!("vm: {why}");
    }
    // Only returns when it fails; then the kernel panics, which ends the machine too.
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn try_run(orders: &Path) -> Outcome<()> {
    // Before the folder it is in is covered.
    let text = std::fs::read_to_string(orders).map_err(|error| format!("read {}: {error}", orders.display()))?;
    let orders = Orders::parse(&text)?;
    mounts::make(&orders.keep)?;
    modules::load()?;
    std::fs::write(SETTINGS_FILE, SETTINGS).map_err(|error| format!("write {SETTINGS_FILE}: {error}"))?;
    work::loopback_up()?;
    about();
    for order in &orders.orders {
        let tally = work::run(order, &orders.environment).unwrap_or_else(|why| {
            println!("vm: {}: {why}", order.name);
            Tally { failed: 1, ..Tally::default() }
        });
        println!("{}", verdict::line(&order.name, tally));
    }
    println!("{LAST}");
    Ok(())
}

/// Says on what the tests ran.
fn about() {
    let uname = rustix::system::uname();
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    println!("vm: Linux {}, cgroup v2 with {}", uname.release().to_string_lossy(), controllers.trim());
}
