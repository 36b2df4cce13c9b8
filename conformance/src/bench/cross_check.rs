//! critest's own benchmark on both sides: another client, another program, the same question.
//!
//! One side after the other and not turn by turn, since a run is a program's. Its pods are plain: no port of the host.

use super::interrupt;
use super::report::{self, Form};
use super::samples::{Figure, Pair, figure};
use super::side::Side;
use crate::tools;
use orlop_testkit::wait_for;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// What is run: one at a time, no images; a result may take this many seconds before critest gives up.
const PARAMETERS: &str = "containersNumberParallel: 1\npodsNumberParallel: 1\ncontainerBenchmarkTimeoutSeconds: 60\n";
/// A benchmark that keeps no samples.
const WITHOUT_SAMPLES: &str = "start a container from scratch";
/// Where it writes its samples.
const RESULTS: [&str; 2] = ["pod_benchmark_data.json", "container_benchmark_data.json"];
/// The longest that one side may take.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// The samples of one side, by operation.
type Took = BTreeMap<String, Vec<Duration>>;

/// What critest writes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Results {
    operations_names: Vec<String>,
    datapoints: Vec<Datapoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Datapoint {
    operations_durations_ns: Vec<u64>,
}

/// Runs it on both sides and prints the figures.
pub fn run(sides: &Pair<Side>, samples: u32, form: Form) -> io::Result<()> {
    let program = tools::critest()?;
    let took =
        Pair { ours: run_on(&sides.ours, &program, samples)?, theirs: run_on(&sides.theirs, &program, samples)? };
    if form == Form::Table {
        println!("critest's own benchmark, one side after the other, closed loop:");
    }
    report::operations(&figures(&took), form);
    Ok(())
}

fn figures(took: &Pair<Took>) -> Vec<Figure> {
    let both = took.ours.iter().filter_map(|(name, ours)| Some((name, ours, took.theirs.get(name)?)));
    both.map(|(name, ours, theirs)| {
        let pair = Pair { ours: ours.clone(), theirs: theirs.clone() };
        figure(&format!("critest {name}"), 0, &pair)
    })
    .collect()
}

fn run_on(side: &Side, program: &Path, samples: u32) -> io::Result<Took> {
    let folder = side.ground.join("cross-check");
    fs::create_dir_all(&folder)?;
    let parameters = folder.join("parameters.yaml");
    fs::write(&parameters, format!("{PARAMETERS}containersNumber: {samples}\npodsNumber: {samples}\n"))?;
    let log = folder.join("critest.log");
    let output = File::create(&log)?;
    let endpoint = format!("unix://{}", side.socket.display());
    let mut command = side.ground.command(program);
    command.current_dir(&folder).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.arg("-benchmark");
    for (flag, value) in [
        ("runtime-endpoint", endpoint.as_str()),
        ("image-endpoint", &endpoint),
        ("benchmarking-params-file", &parameters.display().to_string()),
        ("benchmarking-output-dir", &folder.display().to_string()),
        ("ginkgo.skip", WITHOUT_SAMPLES),
    ] {
        command.arg(format!("-{flag}={value}"));
    }
    wait(&mut command.spawn()?)?;
    let mut took = Took::new();
    for name in RESULTS {
        let read = fs::read(folder.join(name)).and_then(|json| parse(&json).map_err(io::Error::other));
        let failed = |e| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            io::Error::other(format!("{}: critest left no {name}: {e}; it said:\n{log}", side.name()))
        };
        took.extend(read.map_err(failed)?);
    }
    Ok(took)
}

/// Waits for its end; how it ended is judged by what it left.
fn wait(critest: &mut Child) -> io::Result<()> {
    let ended = wait_for(LIMIT, || match interrupt::check() {
        Err(interrupted) => Some(Err(interrupted)),
        Ok(()) => critest.try_wait().transpose(),
    });
    match ended {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => end(critest, error),
        None => end(critest, io::Error::other(format!("critest's benchmark took longer than {LIMIT:?}"))),
    }
}

fn end(critest: &mut Child, why: io::Error) -> io::Result<()> {
    critest.kill()?;
    critest.wait()?;
    Err(why)
}

fn parse(json: &[u8]) -> Result<Took, String> {
    let results: Results = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let mut took = Took::new();
    for datapoint in &results.datapoints {
        for (name, nanoseconds) in results.operations_names.iter().zip(&datapoint.operations_durations_ns) {
            took.entry(name.clone()).or_default().push(Duration::from_nanos(*nanoseconds));
        }
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_both_sides_become_figures() {
        let json = |ns: u64| {
            let text = format!(
                r#"{{"operationsNames": ["CreatePod", "StopPod"], "numParallel": 1, "datapoints": [
                {{"sampleIndex": 0, "operationsDurationsNs": [{ns}, 1000000]}},
                {{"sampleIndex": 1, "operationsDurationsNs": [{ns}, 3000000]}}]}}"#
            );
            parse(text.as_bytes()).unwrap()
        };
        let figures = figures(&Pair { ours: json(5_000_000), theirs: json(20_000_000) });
        let told: Vec<_> = figures.iter().map(|figure| (figure.op.as_str(), figure.ratio, figure.samples)).collect();
        assert_eq!(told, [("critest CreatePod", 4.0, 2), ("critest StopPod", 1.0, 2)]);
        assert!(parse(b"").is_err());
    }
}
