//! The Docker door beside dockerd: what `docker run --rm` asks for, and what `docker ps` does, by a client of our own.
//!
//! The stock CLI would cost more than what is measured; so its calls were recorded once and are made again, on as many
//! connections and in the same order. What always holds: both sides serve the same image on the same file system, each on a
//! ground of its own; a turn is taken on one side, then on the other; the first turns are not counted.

mod list;
mod run;

use super::interrupt;
use super::report::{self, Form};
use super::samples::{Pair, Who, figure};
use crate::docker::client::Client;
use crate::docker::images;
use crate::docker::subject::{Daemon, Which};
use hyper::Method;
use orlop_testkit::Guard;
use run::{Network, RunRm};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Turns before samples are kept: caches fill, bridges and chains are made.
const WARM_UP: u32 = 3;
/// What both sides pull first.
const PULL: &str = "/images/create?fromImage=busybox&tag=latest";

/// How it is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Whom to compare with
    #[arg(long, default_value = "dockerd")]
    peer: PeerName,
    /// Samples of each side
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    samples: u32,
    /// Containers that run while they are listed
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    containers: u32,
    /// Print one line of JSON for each operation; the versions go to standard error
    #[arg(long)]
    json: bool,
}

/// The peers that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PeerName {
    /// dockerd with containerd and runc, of Debian testing.
    Dockerd,
}

/// One daemon and a client of it.
struct Side {
    who: Who,
    daemon: Daemon,
    client: Client,
}

// === impl Side ===

impl Side {
    fn start(who: Who, which: Which, guard: &Guard) -> io::Result<Self> {
        let daemon = Daemon::start(which, guard, &images::all()?)?;
        let client = Client::new(&daemon.socket())?;
        let side = Self { who, daemon, client };
        side.client.call(&Method::POST, PULL, None).map_err(|e| side.failed("pull", &e))?;
        Ok(side)
    }

    fn name(&self) -> &'static str {
        match self.who {
            Who::Ours => "orlop",
            Who::Theirs => "dockerd",
        }
    }

    fn failed(&self, doing: &str, why: &io::Error) -> io::Error {
        io::Error::other(format!("{}: {doing}: {why}", self.name()))
    }
}

/// Measures and prints; returns whether the machine is as it was.
pub fn run(options: &Options) -> io::Result<bool> {
    let begun = Instant::now();
    let PeerName::Dockerd = options.peer;
    interrupt::listen()?;
    let form = if options.json { Form::Json } else { Form::Table };
    let guard = Guard::new();
    let measured = measure(options, &guard, form);
    let (theirs, result) = match measured {
        Ok(ground) => (Some(ground), Ok(())),
        Err(error) => (None, Err(error)),
    };
    let leaks = match theirs {
        Some(ground) => guard.finish_except(&ground),
        None => guard.finish(),
    };
    leaks.iter().for_each(|leak| eprintln!("{leak}"));
    eprintln!("the bench took {} s", begun.elapsed().as_secs());
    result.map(|()| leaks.is_empty())
}

/// Starts both sides and measures; they have ended when it returns. Returns the peer's ground.
fn measure(options: &Options, guard: &Guard, form: Form) -> io::Result<Arc<orlop_testkit::Ground>> {
    let sides = Pair {
        ours: Side::start(Who::Ours, Which::Orlop, guard)?,
        theirs: Side::start(Who::Theirs, Which::Dockerd, guard)?,
    };
    introduce(options, &sides)?;
    let recorded = RunRm::recorded()?;
    let mut figures = Vec::new();
    for network in [Network::Bridge, Network::None] {
        let mut took = Pair::<Vec<_>>::default();
        let run_rm = recorded.on(network);
        for turn in 0..WARM_UP + options.samples {
            for side in [&sides.ours, &sides.theirs] {
                interrupt::check()?;
                let sample = run_rm.replay(&side.client).map_err(|e| side.failed("docker run --rm", &e))?;
                if turn >= WARM_UP {
                    took.of(side.who).push(sample);
                }
            }
        }
        figures.push(figure(run_rm.name(), 0, &took));
    }
    figures.extend(list::measure(&sides, options.containers)?);
    report::operations(&figures, form);
    Ok(Arc::clone(sides.theirs.daemon.ground()))
}

/// Says what is compared, and how.
fn introduce(options: &Options, sides: &Pair<Side>) -> io::Result<()> {
    let version = |side: &Side| {
        let version = side.client.call(&Method::GET, "/version", None).map_err(|e| side.failed("version", &e))?;
        Ok::<_, io::Error>(version["Version"].as_str().map(str::to_owned).unwrap_or_default())
    };
    let kernel = rustix::system::uname();
    let lines = [
        format!("orlop: {}, release build", version(&sides.ours)?),
        format!("peer: dockerd {}; {}", version(&sides.theirs)?, sides.theirs.daemon.versions()),
        format!("kernel: {}", kernel.release().to_string_lossy()),
        format!("{} samples a side, turn by turn, closed loop; ratio is peer / orlop", options.samples),
    ];
    // Not among the lines of JSON.
    lines.iter().for_each(|line| if options.json { eprintln!("{line}") } else { println!("{line}") });
    Ok(())
}
