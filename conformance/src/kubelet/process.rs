//! The kubelet as a process: started, ended, killed, started again.

use super::config::{HEALTH_PORT, arguments};
use crate::script::Verdict;
use orlop_testkit::{Ground, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest until it says that it is well.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// The longest from SIGTERM to its end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// Name of its log on the ground.
pub const LOG: &str = "kubelet.log";
/// How many of its last lines are told when it does not start.
const LOG_LINES: usize = 30;

/// A kubelet on a ground. Dropped, it is ended.
pub struct Kubelet {
    program: PathBuf,
    ground: Arc<Ground>,
    process: Option<Child>,
}

impl Kubelet {
    /// Makes one that is not started yet.
    pub fn new(program: PathBuf, ground: Arc<Ground>) -> Self {
        Self { program, ground, process: None }
    }

    /// Starts it, and waits until it says that it is well; returns how long that took.
    pub fn start(&mut self) -> Verdict<Duration> {
        self.start_with(&[])
    }

    /// The same with further arguments.
    pub fn start_with(&mut self, further: &[&str]) -> Verdict<Duration> {
        let begun = Instant::now();
        let log = OpenOptions::new().create(true).append(true).open(self.ground.join(LOG));
        let log = log.map_err(|e| format!("open the kubelet's log: {e}"))?;
        let mut command = self.ground.command(&self.program);
        command.args(arguments(&self.ground)).args(further).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().map_err(|e| format!("start the kubelet: {e}"))?);
        let well = wait_for(READY_LIMIT, || {
            if let Some(Ok(Some(status))) = self.process.as_mut().map(Child::try_wait) {
                return Some(Err(format!("the kubelet ended with {status}:\n{}", self.log_tail())));
            }
            let answer = self.ground.http_get(IpAddr::V4(Ipv4Addr::LOCALHOST), HEALTH_PORT, "/healthz").ok()?;
            answer.0.contains("200").then_some(Ok(()))
        });
        well.unwrap_or_else(|| Err(format!("the kubelet is not well after {READY_LIMIT:?}:\n{}", self.log_tail())))?;
        Ok(begun.elapsed())
    }

    /// Ends it with SIGTERM.
    pub fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
            if wait_for(END_LIMIT, || process.try_wait().ok().flatten()).is_none() {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(self.ground.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.end();
    }
}
