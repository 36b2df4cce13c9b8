//! How the figures are told: a table for people, or one line of JSON each. Pure but for the printing.

use super::memory::{Memory, PODS};
use super::samples::{Figure, Pair};
use serde::Serialize;

/// What a reader of the shims' figures must know.
const LATE: &str =
    "the peer's shims enter their cgroup some time after their start: /proc counts what they took before, too";

/// Who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// People.
    Table,
    /// Programs.
    Json,
}

/// A figure of memory, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct MemoryFigure {
    memory: &'static str,
    ours_kb: u64,
    theirs_kb: u64,
    ratio: f64,
}

/// Prints the figures of operations.
pub fn operations(figures: &[Figure], form: Form) {
    match form {
        Form::Json => figures.iter().for_each(|figure| println!("{}", json(figure))),
        Form::Table => {
            println!(
                "{:<31} {:>9} {:>9}   {:>9} {:>9}   {:>6}",
                "milliseconds", "orlop", "p90", "peer", "p90", "ratio"
            );
            figures.iter().for_each(|figure| println!("{}", row(figure)));
            println!("{}", verdict(figures));
        }
    }
}

/// Prints the figures of memory.
pub fn memory(memory: &Pair<Memory>, form: Form) {
    let figures = memory_figures(memory);
    match form {
        Form::Json => figures.iter().for_each(|figure| println!("{}", json(figure))),
        Form::Table => {
            println!(
                "{PODS} pods, each of one container in the node's namespaces; a shim is all shims divided by them"
            );
            println!("{LATE}");
            println!("{:<31} {:>9} {:>19}   {:>15}", "kilobytes", "orlop", "peer", "ratio");
            for MemoryFigure { memory, ours_kb, theirs_kb, ratio } in figures {
                println!("{memory:<31} {ours_kb:>9} {theirs_kb:>19}   {ratio:>15.2}");
            }
        }
    }
}

fn row(figure: &Figure) -> String {
    let Figure { op, ours_ms, theirs_ms, ratio, ours_p90_ms, theirs_p90_ms, .. } = figure;
    format!("{op:<31} {ours_ms:>9.2} {ours_p90_ms:>9.2}   {theirs_ms:>9.2} {theirs_p90_ms:>9.2}   {ratio:>6.2}")
}

/// Names every operation at which the peer is faster.
fn verdict(figures: &[Figure]) -> String {
    let behind: Vec<&str> =
        figures.iter().filter(|figure| figure.ratio < 1.0).map(|figure| figure.op.as_str()).collect();
    if behind.is_empty() {
        "orlop is the faster at each of them".to_owned()
    } else {
        format!("the peer is the faster at: {}", behind.join(", "))
    }
}

fn memory_figures(memory: &Pair<Memory>) -> Vec<MemoryFigure> {
    let shim = |part: fn(&Memory) -> u64| {
        let each = |side: &Memory| part(side) / u64::from(side.pods.max(1)) / 1024;
        (each(&memory.ours), each(&memory.theirs))
    };
    let daemon = |part: fn(&Memory) -> u64| (part(&memory.ours) / 1024, part(&memory.theirs) / 1024);
    let named = [
        ("shim, charged", shim(|side| side.shims.anonymous + side.shims.kernel)),
        ("shim, charged anonymous", shim(|side| side.shims.anonymous)),
        ("shim, charged kernel", shim(|side| side.shims.kernel)),
        ("shim, anonymous by /proc", shim(|side| side.shims_anonymous)),
        ("daemon, PSS", daemon(|side| side.daemon.proportional)),
        ("daemon, anonymous", daemon(|side| side.daemon.anonymous)),
    ];
    let figure =
        |(memory, (ours_kb, theirs_kb))| MemoryFigure { memory, ours_kb, theirs_kb, ratio: ratio(ours_kb, theirs_kb) };
    named.into_iter().map(figure).collect()
}

#[allow(clippy::cast_precision_loss, reason = "kilobytes of memory have few digits")]
fn ratio(ours: u64, theirs: u64) -> f64 {
    (theirs as f64 / ours as f64 * 100.0).round() / 100.0
}

fn json(figure: &impl Serialize) -> String {
    serde_json::to_string(figure).expect("names and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::memory::{Charged, Resident};

    fn figure(op: &str, ratio: f64) -> Figure {
        let ms = 1.0;
        Figure {
            op: op.to_owned(),
            gap_ms: 0,
            ours_ms: ms,
            theirs_ms: ms * ratio,
            ratio,
            ours_p90_ms: ms,
            theirs_p90_ms: ms,
            samples: 30,
        }
    }

    #[test]
    fn where_the_peer_is_faster_it_is_said() {
        let figures = [figure("RunPodSandbox", 8.0), figure("PullImage", 0.9)];
        assert_eq!(verdict(&figures), "the peer is the faster at: PullImage");
        assert_eq!(verdict(&figures[..1]), "orlop is the faster at each of them");
    }

    #[test]
    fn a_shim_is_a_pods_share_of_what_all_are_charged_for() {
        let side = |bytes| Memory {
            shims: Charged { anonymous: bytes, kernel: bytes },
            shims_anonymous: bytes,
            pods: 100,
            daemon: Resident { proportional: 2 << 20, anonymous: 1 << 20 },
        };
        let figures = memory_figures(&Pair { ours: side(100 << 10), theirs: side(400 << 10) });
        let shim = MemoryFigure { memory: "shim, charged", ours_kb: 2, theirs_kb: 8, ratio: 4.0 };
        assert_eq!(figures[0], shim);
        assert_eq!((figures[4].ours_kb, figures[5].ours_kb), (2048, 1024));
    }
}
