//! The recorded calls of `docker run --rm busybox true`, and how they are made again.

use crate::docker::client::{Client, Connection, read};
use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// The calls, as the stock CLI 28.2 made them: which connection, what was sent. `{id}` is the container.
const RECORDED: &str = include_str!("../../../docker/run-rm.json");
/// Most output of the program that is read: it has none.
const OUTPUT_BYTES_MAX: u64 = 1 << 16;

/// The recorded calls, with the container on one network.
pub struct RunRm {
    network: Network,
    calls: Vec<Call>,
}

/// What network the container gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Docker's bridge: what is asked for when nothing is.
    Bridge,
    /// None.
    None,
}

/// One recorded call.
#[derive(Clone, Debug, Deserialize)]
struct Call {
    connection: Line,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

/// Which of the CLI's connections a call was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// The one it opens first; taken by the wait in the end.
    First,
    /// The one that becomes the program's output.
    Attached,
    /// The one that is opened while the first is taken.
    Second,
}

/// A call, ready to be sent.
struct Ready {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

// === impl RunRm ===

impl RunRm {
    /// Reads the recorded calls.
    pub fn recorded() -> io::Result<Self> {
        let calls: Vec<Call> = serde_json::from_str(RECORDED).map_err(io::Error::other)?;
        let lines: Vec<Line> = calls.iter().map(|call| call.connection).collect();
        if lines != [Line::First, Line::First, Line::Attached, Line::First, Line::Second] {
            return Err(io::Error::other("the recorded calls are not ping, create, attach, wait and start"));
        }
        Ok(Self { network: Network::Bridge, calls })
    }

    /// Returns the same with the container on another network, as `--network` asks for it.
    pub fn on(&self, network: Network) -> Self {
        let mut calls = self.calls.clone();
        if network == Network::None {
            calls[1].body["HostConfig"]["NetworkMode"] = "none".into();
            let endpoints = &mut calls[1].body["NetworkingConfig"]["EndpointsConfig"];
            let settings = endpoints["default"].take();
            *endpoints = serde_json::json!({"none": settings});
        }
        Self { network, calls }
    }

    /// Returns what the calls amount to.
    pub fn name(&self) -> &'static str {
        match self.network {
            Network::Bridge => "docker run --rm",
            Network::None => "docker run --rm --network none",
        }
    }

    /// Makes the calls and returns how long it took: from the first connection until the container is gone and all of its
    /// output is there.
    pub fn replay(&self, client: &Client) -> io::Result<Duration> {
        client.run(async {
            let begun = Instant::now();
            let code = self.make(client).await?;
            let took = begun.elapsed();
            if code == 0 { Ok(took) } else { Err(io::Error::other(format!("the program ended with {code}"))) }
        })
    }

    async fn make(&self, client: &Client) -> io::Result<i64> {
        let socket = client.socket();
        let ready = |number: usize, id: &str| self.calls[number].ready(id);
        let mut first = Connection::open(socket).await?;
        first.send(&ready(0, "")?).await?;
        let created: Value = first.send(&ready(1, "")?).await?;
        let id = created["Id"].as_str().ok_or_else(|| io::Error::other("no id was answered"))?;
        let Ready { method, path, headers, body } = ready(2, id)?;
        let mut output = Connection::open(socket).await?.hijack(&method, &path, &headers, body).await?;
        let Ready { method, path, headers, body } = ready(3, id)?;
        let waiting = first.begin(&method, &path, &headers, body).await?;
        Connection::open(socket).await?.send(&ready(4, id)?).await?;
        let mut said = Vec::new();
        (&mut output).take(OUTPUT_BYTES_MAX).read_to_end(&mut said).await?;
        let waited: Value = serde_json::from_slice(&read(waiting).await?).map_err(io::Error::other)?;
        waited["StatusCode"].as_i64().ok_or_else(|| io::Error::other(format!("wait answered {waited}")))
    }
}

// === impl Call ===

impl Call {
    fn ready(&self, id: &str) -> io::Result<Ready> {
        let body = if self.body.is_null() { Bytes::new() } else { self.body.to_string().into() };
        Ok(Ready {
            method: self.method.parse().map_err(io::Error::other)?,
            path: self.path.replace("{id}", id),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            body,
        })
    }
}

impl Connection {
    /// Makes a call that must succeed, and returns the JSON of its answer; null when it has none.
    async fn send(&mut self, call: &Ready) -> io::Result<Value> {
        let answer = self.call(&call.method, &call.path, &call.headers, call.body.clone()).await?;
        answer.well(&call.method, &call.path)?;
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_calls_are_those_of_a_run_and_the_network_is_asked_for_in_both_places() {
        let recorded = RunRm::recorded().unwrap();
        let none = recorded.on(Network::None);
        let body = &none.calls[1].body;
        assert_eq!(body["HostConfig"]["NetworkMode"], "none");
        assert!(body["NetworkingConfig"]["EndpointsConfig"]["none"].is_object());
        let attach = recorded.calls[2].ready("abc").unwrap();
        assert!(attach.path.contains("/containers/abc/attach?") && attach.body.is_empty());
    }
}
