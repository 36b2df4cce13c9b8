//! The scenarios, one idea a file. Each asks for pods of its own, and claims what its name says.

mod alike;
mod attach;
mod crash_loop;
mod daemon_killed;
mod downward_api;
mod empty_dir;
mod events;
mod exec;
mod garbage;
mod graceful_deletion;
mod hooks;
mod host_network;
mod host_path;
mod host_port;
mod init_containers;
mod kubelet_restart;
mod liveness_exec;
mod liveness_http;
mod log_rotation;
mod logs;
mod port_forward;
mod pull_policy;
mod readiness;
mod resources;
mod restart_policy;
mod security_context;
mod shared_processes;
mod sidecar;
mod startup_probe;
mod stats;
mod sub_path;
mod termination_message;
mod user_namespace;

use super::play::Scenario;
use super::stage::Stage;
use crate::script::Verdict;

const fn scenario(name: &'static str, play: fn(&Stage) -> Verdict) -> Scenario {
    Scenario { name, play }
}

const STATS: &str = "stats: the summary is within a tenth of time, memory and bytes spent";

/// Those that run beside each other, the longest first.
pub const BESIDE: &[Scenario] = &[
    scenario("garbage: dead containers and pods that are gone are collected", garbage::play),
    scenario(STATS, stats::play),
    scenario("log rotation: under load no line of what is kept is missing", log_rotation::play),
    scenario("crash loop: a failing container is started again with growing pauses", crash_loop::play),
    scenario("restart policies: Always, OnFailure and Never", restart_policy::play),
    scenario("liveness by exec: a sick container is started again alone", liveness_exec::play),
    scenario("liveness by http: a silent page is the container's end", liveness_http::play),
    scenario("startup probe: others wait for it, and it may fail", startup_probe::play),
    scenario("sidecar: starts first, is restarted alone, ends last", sidecar::play),
    scenario("init containers: in order, each to its end", init_containers::play),
    scenario("graceful deletion: SIGTERM ignored costs the whole grace", graceful_deletion::play),
    scenario("hooks: after the start and before the end", hooks::play),
    scenario("readiness: comes and goes without a restart", readiness::play),
    scenario("resources: limits are set, and too much memory is OOMKilled", resources::play),
    scenario("exec: outputs, exit code, half close, terminal", exec::play),
    scenario("attach: input and output of a running container", attach::play),
    scenario("port-forward: beside each other, much data, a closed port", port_forward::play),
    scenario("logs: tail, since, times, previous, follow", logs::play),
    scenario("emptyDir: on disk and in memory", empty_dir::play),
    scenario("hostPath: seen, written, read-only, made, missing", host_path::play),
    scenario("subPath: a folder, by environment, a file, and no way out", sub_path::play),
    scenario("downward API: environment, files, names", downward_api::play),
    scenario("hostPort: everywhere, on one address, and gone", host_port::play),
    scenario("host network: the node's address, links and loopback", host_network::play),
    scenario("shared processes: seen and signalled in the pod alone", shared_processes::play),
    scenario("user namespace: root inside is nobody outside", user_namespace::play),
    scenario("security context: users, capabilities, read-only, filters", security_context::play),
    scenario("termination message: file, log, other place, bounded", termination_message::play),
    scenario("pull policies: Always, IfNotPresent, Never, missing", pull_policy::play),
];

/// Those that disturb all others.
pub const ALONE: &[Scenario] = &[
    KUBELET_RESTARTED,
    KUBELET_LISTENS,
    scenario("daemon killed: ten pods go on, one ends meanwhile, logs are whole", daemon_killed::play),
];

/// What the peer can't show: its store lies in a file tree of its own, where a kubelet of the host measures nothing.
pub const NOT_ON_PEER: &[&str] = &[STATS];

/// Those that disturb all others, on the peer, which is not killed.
pub const ALONE_ON_PEER: &[Scenario] = &[KUBELET_RESTARTED, KUBELET_LISTENS];

const KUBELET_RESTARTED: Scenario = scenario("kubelet restarted: pods go on as they were", kubelet_restart::play);
const KUBELET_LISTENS: Scenario = scenario("events: a kubelet that listens hears of starts and ends", events::play);
