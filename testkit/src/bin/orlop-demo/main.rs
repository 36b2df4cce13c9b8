//! A pod's life, watched: every step is a call of the CRI over the socket, printed with its answer and its time.
//!
//! The client is the k8s-cri crate, not ours. Values are checked, not only shown: what an exec prints and what the page says
//! must carry a word made up at the start. Ends with 1 at the first mismatch, and cleans up behind itself all the same.

#![allow(clippy::print_stdout, reason = "this program talks to a person")]

mod steps;
mod teller;

use orlop_testkit::lab::Surroundings;
use orlop_testkit::{Guard, Node};
use std::process::ExitCode;
use std::time::Instant;
use teller::{Outcome, tell};

/// Asks for the test images alone, for a demo that is to run where none can be made.
const PREPARE: &str = "--prepare";

fn main() -> ExitCode {
    let begun = Instant::now();
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some(PREPARE) {
        return prepare();
    }
    let guard = Guard::new();
    let shown = show(&guard, argument);
    let leaks = guard.finish();
    for leak in &leaks {
        println!("{leak}");
    }
    match shown {
        Err(why) => println!("MISMATCH: {why}"),
        Ok(()) if !leaks.is_empty() => println!("MISMATCH: the machine is not as it was before"),
        Ok(()) => {
            tell("proof", None, "mounts, processes, links, addresses, routes, nft, sysctls, cgroups, files: as before");
            println!("the whole life took {:.1} s", begun.elapsed().as_secs_f64());
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::FAILURE
}

fn prepare() -> ExitCode {
    match orlop_testkit::lab::shelve_test_images() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            println!("make the test images: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything between the two looks of the guard. What it starts has ended when it returns.
fn show(guard: &Guard, reference: Option<String>) -> Outcome {
    let surroundings = match reference {
        Some(reference) => Surroundings::of_host(guard, reference),
        None => Surroundings::with_registry(guard).map_err(|e| format!("set up the registry: {e}"))?,
    };
    let mut node = Node::prepare(surroundings.ground.clone(), &[]);
    let serving = node.try_start()?;
    tell("orlopd", Some(serving), &format!("pid {}, on {}", node.pid(), node.socket().display()));
    let outcome = steps::run(&node, &surroundings);
    if outcome.is_err() {
        println!("the last lines of orlopd's log:\n{}", node.log_tail());
        // What is left of the pod goes with the node.
        return outcome;
    }
    let end = Instant::now();
    node.try_end()?;
    tell("orlopd", Some(end.elapsed()), "ended on SIGTERM");
    Ok(())
}
