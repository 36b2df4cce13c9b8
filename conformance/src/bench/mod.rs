//! orlopd beside the peer: one client, one machine, one run, turn by turn.
//!
//! Start at [`run`]. What always holds: both sides get the same requests for the same image on the same file system, each on
//! a ground of its own; a pod's life is lived on one side, then on the other; the first lives are not counted; what is
//! printed is what was measured, and where the peer is the faster one it is named.

mod clock;
mod cross_check;
pub mod docker;
mod field;
mod image;
pub mod interrupt;
mod life;
mod memory;
pub mod peer;
mod proof;
mod report;
mod samples;
mod side;

use crate::images::{self, BUSYBOX};
use clock::Clock;
use field::{Field, Shims};
use orlop_testkit::client::{image as image_spec, v1};
use report::Form;
use samples::{Pair, Samples, Who};
use side::Side;
use std::io;
use std::time::{Duration, Instant};

/// Lives on each side before samples are kept: caches fill, bridges and chains are made.
const WARM_UP: u32 = 3;

/// How it is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Whom to compare with
    #[arg(long, default_value = "containerd")]
    peer: PeerName,
    /// Samples of each side
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    samples: u32,
    /// Pause before each call, milliseconds; 0 is the closed loop
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    gap: u64,
    /// Print one line of JSON for each operation; the versions go to standard error
    #[arg(long)]
    json: bool,
    /// Run critest's own benchmark on both sides in addition; needs Go
    #[arg(long)]
    cross_check: bool,
}

/// The peers that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PeerName {
    /// containerd with runc and the CNI plugins, of Debian testing.
    Containerd,
}

/// Measures and prints; returns whether the machine is as it was.
pub fn run(options: &Options) -> io::Result<bool> {
    let begun = Instant::now();
    let PeerName::Containerd = options.peer;
    interrupt::listen()?;
    let form = if options.json { Form::Json } else { Form::Table };
    let mut images = images::small()?;
    images.push(image::layered());
    let mut clean = with_field(&images, Shims::Default, |field, sides| {
        introduce(options, field, sides)?;
        let samples = time_calls(options, sides)?;
        report::operations(&samples.figures(options.gap), form);
        if options.cross_check { cross_check::run(sides, options.samples, form) } else { Ok(()) }
    })?;
    clean &= with_field(&images, Shims::OwnGroup, |_, sides| {
        report::memory(&memory::measure(sides)?, form);
        Ok(())
    })?;
    eprintln!("the bench took {} s", begun.elapsed().as_secs());
    Ok(clean)
}

/// Starts both sides for some work, warm; returns whether ours left nothing behind.
fn with_field(
    images: &[orlop_testkit::shelf::Image],
    shims: Shims,
    work: impl FnOnce(&Field, &Pair<Side>) -> io::Result<()>,
) -> io::Result<bool> {
    let field = Field::start(images, shims)?;
    let sides = field.sides();
    for side in [&sides.ours, &sides.theirs] {
        let pull = v1::PullImageRequest { image: Some(image_spec(BUSYBOX)), ..Default::default() };
        side.client.pull_image(pull).map_err(|e| io::Error::other(format!("{}: {e}", side.name())))?;
        proof::of_host_port(side)?;
    }
    work(&field, &sides)?;
    drop(sides);
    let leaks = field.end();
    leaks.iter().for_each(|leak| eprintln!("{leak}"));
    Ok(leaks.is_empty())
}

/// Says what is compared, and how.
fn introduce(options: &Options, field: &Field, sides: &Pair<Side>) -> io::Result<()> {
    let said = |side: &Side| {
        let version = side.client.version(v1::VersionRequest::default());
        let version = version.map_err(|e| io::Error::other(format!("{}: {e}", side.name())))?;
        Ok::<_, io::Error>(format!("{} {}", version.runtime_name, version.runtime_version))
    };
    let gap = match options.gap {
        0 => "closed loop (the next call follows at once)".to_owned(),
        gap => format!("{gap} ms before each call"),
    };
    let kernel = rustix::system::uname();
    let lines = [
        format!("orlop: {}, release build", said(&sides.ours)?),
        format!("peer: {}; Debian testing: {}", said(&sides.theirs)?, field.peer().versions()),
        format!("kernel: {}", kernel.release().to_string_lossy()),
        format!("{} samples a side, turn by turn, {gap}; ratio is peer / orlop", options.samples),
        "pulls: orlop has flushed the image to disk when it answers, the peer by default has not".to_owned(),
    ];
    // Not among the lines of JSON.
    lines.iter().for_each(|line| if options.json { eprintln!("{line}") } else { println!("{line}") });
    Ok(())
}

/// Takes all samples: pods first, then images.
fn time_calls(options: &Options, sides: &Pair<Side>) -> io::Result<Samples> {
    let (mut samples, gap) = (Samples::default(), Duration::from_millis(options.gap));
    let mut warm_up = Samples::default();
    for number in 0..WARM_UP {
        turn(sides, &mut warm_up, Duration::ZERO, |side, clock| life::live(side, number, clock))?;
    }
    for number in WARM_UP..WARM_UP + options.samples {
        turn(sides, &mut samples, gap, |side, clock| life::live(side, number, clock))?;
    }
    turn(sides, &mut warm_up, Duration::ZERO, image::pull_and_remove)?;
    for _ in 0..options.samples {
        turn(sides, &mut samples, gap, image::pull_and_remove)?;
    }
    Ok(samples)
}

/// Lets one side work, then the other.
fn turn(
    sides: &Pair<Side>,
    samples: &mut Samples,
    gap: Duration,
    mut work: impl FnMut(&Side, &mut Clock<'_>) -> io::Result<()>,
) -> io::Result<()> {
    work(&sides.ours, &mut Clock::new(samples, Who::Ours, gap))?;
    work(&sides.theirs, &mut Clock::new(samples, Who::Theirs, gap))
}
