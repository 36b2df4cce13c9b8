//! `docker ps` with many containers: what its one call takes, seen by a client, and by our own metrics.

use super::Side;
use crate::bench::interrupt;
use crate::bench::samples::{Figure, Pair, Who, figure};
use crate::docker::client::{Client, Connection};
use hyper::Method;
use hyper::body::Bytes;
use serde_json::json;
use std::io;
use std::time::{Duration, Instant};

/// What `docker ps` asks for.
const LIST: &str = "/v1.50/containers/json";
/// How often it is asked.
const CALLS: usize = 100;
/// What our daemon counts the time of requests in.
const SECONDS: &str = "orlop_docker_request_seconds_sum";

/// Runs the containers on both sides and lists them.
pub fn measure(sides: &Pair<Side>, containers: u32) -> io::Result<Vec<Figure>> {
    let (mut seen, mut own) = (Pair::<Vec<_>>::default(), Vec::new());
    for side in [&sides.ours, &sides.theirs] {
        run_containers(side, containers).map_err(|e| side.failed("run containers", &e))?;
        let metrics = match side.who {
            Who::Ours => Some(Client::new(&side.daemon.metrics())?),
            Who::Theirs => None,
        };
        for _ in 0..CALLS {
            interrupt::check()?;
            let before = metrics.as_ref().map(request_seconds).transpose()?;
            seen.of(side.who).push(list(side, containers).map_err(|e| side.failed("docker ps", &e))?);
            let after = metrics.as_ref().map(request_seconds).transpose()?;
            if let (Some(before), Some(after)) = (before, after) {
                own.push(Duration::from_secs_f64((after - before).max(0.0)));
            }
        }
        side.client.remove_containers().map_err(|e| side.failed("remove containers", &e))?;
    }
    let by_metrics = Pair { ours: own, theirs: seen.theirs.clone() };
    Ok(vec![
        figure(&format!("docker ps, {containers} run"), 0, &seen),
        figure("the same, ours by /metrics", 0, &by_metrics),
    ])
}

fn run_containers(side: &Side, containers: u32) -> io::Result<()> {
    for number in 0..containers {
        interrupt::check()?;
        let body = json!({"Image": "busybox", "Cmd": ["sleep", "3600"], "HostConfig": {"NetworkMode": "none"}});
        let path = format!("/containers/create?name=listed-{number}");
        let created = side.client.call(&Method::POST, &path, Some(&body))?;
        let id = created["Id"].as_str().unwrap_or_default();
        side.client.call(&Method::POST, &format!("/containers/{id}/start"), None)?;
    }
    Ok(())
}

/// Lists on a connection of its own, as the CLI does; returns how long the call took.
fn list(side: &Side, containers: u32) -> io::Result<Duration> {
    let (took, answer) = side.client.run(async {
        let mut connection = Connection::open(side.client.socket()).await?;
        let begun = Instant::now();
        let answer = connection.call(&Method::GET, LIST, &[], Bytes::new()).await?;
        Ok((begun.elapsed(), answer))
    })?;
    answer.well(&Method::GET, LIST)?;
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).map_err(io::Error::other)?;
    if listed.len() == usize::try_from(containers).unwrap_or(usize::MAX) {
        Ok(took)
    } else {
        Err(io::Error::other(format!("{} containers are listed, not {containers}", listed.len())))
    }
}

/// Returns what all requests took so far, seconds, by the daemon's own count.
fn request_seconds(metrics: &Client) -> io::Result<f64> {
    let answer = metrics.run(async {
        Connection::open(metrics.socket()).await?.call(&Method::GET, "/metrics", &[], Bytes::new()).await
    })?;
    total(&String::from_utf8_lossy(&answer.body)).ok_or_else(|| io::Error::other(format!("/metrics has no {SECONDS}")))
}

/// Adds up all series of the counter.
fn total(text: &str) -> Option<f64> {
    let series = text.lines().filter(|line| line.starts_with(SECONDS));
    let values: Option<Vec<f64>> = series.map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    values.filter(|values| !values.is_empty()).map(|values| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_series_of_the_counter_count() {
        let text = "# HELP x\norlop_docker_request_seconds_sum{operation=\"a\"} 0.5\n\
            orlop_docker_request_seconds_sum{operation=\"b\"} 0.25\norlop_docker_request_seconds_count{} 9\n";
        assert_eq!(total(text), Some(0.75));
        assert_eq!(total("other 1\n"), None);
    }
}
