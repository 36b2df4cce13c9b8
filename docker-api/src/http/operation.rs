//! Every operation of the API: its method, its path, its parameters, and whether it is there.
//!
//! One table, so that what is not built is refused by name, and what no table knows is told from it.

use super::error::ApiError;
use super::fields::Rule::{self, Honoured, NotBuilt};
use super::query::{Plus, Query, decode, truth};
use hyper::{Method, StatusCode};
use serde_json::Value;

/// Segments of the longest path that can mean something; image names may have many.
const SEGMENTS_MAX: usize = 64;

/// An operation that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Ping,
    Version,
    Info,
    Events,
    DiskUsage,
    Auth,
    ContainerList,
    ContainerCreate,
    ContainerInspect,
    ContainerTop,
    ContainerChanges,
    ContainerLogs,
    ContainerStats,
    ContainerResize,
    ContainerStart,
    ContainerStop,
    ContainerRestart,
    ContainerKill,
    ContainerUpdate,
    ContainerRename,
    ContainerPause,
    ContainerUnpause,
    ContainerAttach,
    ContainerWait,
    ContainerRemove,
    ContainerArchiveHead,
    ContainerArchiveGet,
    ContainerArchivePut,
    ContainerPrune,
    Commit,
    ExecCreate,
    ExecStart,
    ExecResize,
    ExecInspect,
    ImageList,
    ImageCreate,
    ImageInspect,
    ImageHistory,
    ImageTag,
    ImageRemove,
    ImagePrune,
    NetworkList,
    NetworkInspect,
    NetworkRemove,
    VolumeList,
    VolumeCreate,
    VolumeInspect,
    VolumeRemove,
    VolumePrune,
    NetworkPrune,
    PluginList,
    PluginInspect,
}

/// What a method and a path mean.
#[derive(Debug)]
enum Meaning {
    /// It is done.
    Does(Operation),
    /// It is part of the API, and not built yet.
    Later,
    /// It is part of Swarm, which is not active.
    Swarm,
}

/// One line of the table.
struct Line {
    method: &'static str,
    /// Segments; `*` stands for one, `**` for one or more.
    path: &'static str,
    meaning: Meaning,
    parameters: &'static [(&'static str, Rule)],
}

/// A request found in the table.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) operation: Operation,
    /// What stood for `*` and `**`, decoded.
    pub(crate) names: Vec<String>,
    pub(crate) query: Query,
    /// How many parameters nobody knows.
    pub(crate) unknown: u64,
}

/// Finds the operation, and checks its parameters.
pub(crate) fn find(method: &Method, path: &str, query: &str) -> Result<Found, ApiError> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let not_there = || ApiError::not_found("page not found");
    if segments.len() > SEGMENTS_MAX {
        return Err(not_there());
    }
    let fits = |line: &&Line| line.method == method.as_str() && matches(line.path, &segments).is_some();
    let line = TABLE.iter().find(fits).ok_or_else(not_there)?;
    let names = matches(line.path, &segments).unwrap_or_default();
    let operation = match line.meaning {
        Meaning::Does(operation) => operation,
        Meaning::Later => return Err(ApiError::not_built(format!("{} {}", line.method, readable(line.path)))),
        Meaning::Swarm => {
            let message = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
        }
    };
    let names = names.iter().map(|name| decode(name, Plus::Itself)).collect::<Result<_, _>>()?;
    let query = Query::parse(query)?;
    let unknown = check_parameters(&query, line.parameters)?;
    Ok(Found { operation, names, query, unknown })
}

fn readable(path: &str) -> String {
    path.replace("**", "{name}").replace('*', "{id}")
}

/// Returns what stood for the stars; `None` when the path is another.
fn matches(pattern: &str, segments: &[&str]) -> Option<Vec<String>> {
    let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
    let many = pattern.iter().position(|part| *part == "**");
    let mut names = Vec::new();
    let one = |part: &str, segment: &str, names: &mut Vec<String>| match part {
        "*" if !segment.is_empty() => {
            names.push(segment.to_owned());
            true
        }
        part => part == segment,
    };
    let Some(at) = many else {
        let same = pattern.len() == segments.len()
            && pattern.iter().zip(segments).all(|(part, segment)| one(part, segment, &mut names));
        return same.then_some(names);
    };
    let behind = pattern.len() - at - 1;
    let end = segments.len().checked_sub(behind).filter(|end| *end > at)?;
    let head = pattern[..at].iter().zip(segments).all(|(part, segment)| one(part, segment, &mut names));
    let name = segments[at..end].join("/");
    names.push(name.clone());
    let tail = pattern[at + 1..].iter().zip(&segments[end..]).all(|(part, segment)| one(part, segment, &mut names));
    (head && tail && !name.is_empty()).then_some(names)
}

/// Refuses parameters that ask for what is not done; counts those that nobody knows.
fn check_parameters(query: &Query, known: &[(&str, Rule)]) -> Result<u64, ApiError> {
    let mut unknown = 0;
    for name in query.names() {
        match known.iter().find(|(there, _)| *there == name) {
            None => unknown += 1,
            Some((_, rule)) => {
                for value in query.all(name) {
                    let value = if truth(value) { Value::from(value) } else { Value::Null };
                    rule.check(name, &value)?;
                }
            }
        }
    }
    Ok(unknown)
}

const fn line(
    method: &'static str,
    path: &'static str,
    does: Operation,
    parameters: &'static [(&'static str, Rule)],
) -> Line {
    Line { method, path, meaning: Meaning::Does(does), parameters }
}

const fn later(method: &'static str, path: &'static str) -> Line {
    Line { method, path, meaning: Meaning::Later, parameters: &[] }
}

const fn swarm(method: &'static str, path: &'static str) -> Line {
    Line { method, path, meaning: Meaning::Swarm, parameters: &[] }
}

const ATTACH: &[(&str, Rule)] = &[
    ("detachKeys", Honoured),
    ("logs", Honoured),
    ("stream", Honoured),
    ("stdin", Honoured),
    ("stdout", Honoured),
    ("stderr", Honoured),
];
const STOP: &[(&str, Rule)] = &[("signal", Honoured), ("t", Honoured)];
const SIZE: &[(&str, Rule)] = &[("h", Honoured), ("w", Honoured)];
/// One platform, the node's: naming it changes nothing, naming another would.
const PLATFORM: Rule = Honoured;

const TABLE: &[Line] = &[
    line("GET", "/_ping", Operation::Ping, &[]),
    line("HEAD", "/_ping", Operation::Ping, &[]),
    line("GET", "/version", Operation::Version, &[]),
    line("GET", "/info", Operation::Info, &[]),
    line("GET", "/events", Operation::Events, &[("since", Honoured), ("until", Honoured), ("filters", Honoured)]),
    line("GET", "/system/df", Operation::DiskUsage, &[("type", Honoured), ("verbose", NotBuilt(&[]))]),
    line("POST", "/auth", Operation::Auth, &[]),
    line(
        "GET",
        "/containers/json",
        Operation::ContainerList,
        // `since` and `before` are filters now, and were parameters before 1.22.
        &[("all", Honoured), ("limit", Honoured), ("size", Honoured), ("filters", Honoured)],
    ),
    line("POST", "/containers/create", Operation::ContainerCreate, &[("name", Honoured), ("platform", PLATFORM)]),
    line("POST", "/containers/prune", Operation::ContainerPrune, &[("filters", Honoured)]),
    line("GET", "/containers/*/json", Operation::ContainerInspect, &[("size", Honoured)]),
    line("GET", "/containers/*/top", Operation::ContainerTop, &[("ps_args", Honoured)]),
    line(
        "GET",
        "/containers/*/logs",
        Operation::ContainerLogs,
        &[
            ("follow", Honoured),
            ("stdout", Honoured),
            ("stderr", Honoured),
            ("since", Honoured),
            ("until", Honoured),
            ("timestamps", Honoured),
            ("tail", Honoured),
            ("details", Honoured),
        ],
    ),
    line("GET", "/containers/*/changes", Operation::ContainerChanges, &[]),
    later("GET", "/containers/*/export"),
    line("GET", "/containers/*/stats", Operation::ContainerStats, &[("stream", Honoured), ("one-shot", Honoured)]),
    line("POST", "/containers/*/resize", Operation::ContainerResize, SIZE),
    line(
        "POST",
        "/containers/*/start",
        Operation::ContainerStart,
        &[("detachKeys", Honoured), ("checkpoint", NotBuilt(&[])), ("checkpoint-dir", NotBuilt(&[]))],
    ),
    line("POST", "/containers/*/stop", Operation::ContainerStop, STOP),
    line("POST", "/containers/*/restart", Operation::ContainerRestart, STOP),
    line("POST", "/containers/*/kill", Operation::ContainerKill, &[("signal", Honoured)]),
    line("POST", "/containers/*/update", Operation::ContainerUpdate, &[]),
    line("POST", "/containers/*/rename", Operation::ContainerRename, &[("name", Honoured)]),
    line("POST", "/containers/*/pause", Operation::ContainerPause, &[]),
    line("POST", "/containers/*/unpause", Operation::ContainerUnpause, &[]),
    line("POST", "/containers/*/attach", Operation::ContainerAttach, ATTACH),
    later("GET", "/containers/*/attach/ws"),
    line("POST", "/containers/*/wait", Operation::ContainerWait, &[("condition", Honoured)]),
    line(
        "DELETE",
        "/containers/*",
        Operation::ContainerRemove,
        &[("v", Honoured), ("force", Honoured), ("link", NotBuilt(&[]))],
    ),
    line("HEAD", "/containers/*/archive", Operation::ContainerArchiveHead, &[("path", Honoured)]),
    line("GET", "/containers/*/archive", Operation::ContainerArchiveGet, &[("path", Honoured)]),
    line(
        "PUT",
        "/containers/*/archive",
        Operation::ContainerArchivePut,
        &[("path", Honoured), ("noOverwriteDirNonDir", Honoured), ("copyUIDGID", Honoured)],
    ),
    line("POST", "/containers/*/exec", Operation::ExecCreate, &[]),
    line("POST", "/exec/*/start", Operation::ExecStart, &[]),
    line("POST", "/exec/*/resize", Operation::ExecResize, SIZE),
    line("GET", "/exec/*/json", Operation::ExecInspect, &[]),
    line(
        "GET",
        "/images/json",
        Operation::ImageList,
        &[
            ("all", Honoured),
            ("filters", Honoured),
            ("shared-size", Honoured),
            ("digests", Honoured),
            ("manifests", NotBuilt(&[])),
            ("identity", NotBuilt(&[])),
            // A name, before 1.25.
            ("filter", Honoured),
        ],
    ),
    line(
        "POST",
        "/images/create",
        Operation::ImageCreate,
        &[
            ("fromImage", Honoured),
            ("tag", Honoured),
            ("platform", PLATFORM),
            ("fromSrc", NotBuilt(&[])),
            ("repo", NotBuilt(&[])),
            ("message", NotBuilt(&[])),
            ("changes", NotBuilt(&[])),
        ],
    ),
    line("POST", "/images/prune", Operation::ImagePrune, &[("filters", Honoured)]),
    later("POST", "/images/load"),
    later("GET", "/images/get"),
    later("GET", "/images/search"),
    line("GET", "/images/**/json", Operation::ImageInspect, &[("manifests", NotBuilt(&[])), ("platform", PLATFORM)]),
    line("GET", "/images/**/history", Operation::ImageHistory, &[("platform", PLATFORM)]),
    later("GET", "/images/**/attestations"),
    later("GET", "/images/**/get"),
    later("POST", "/images/**/push"),
    line("POST", "/images/**/tag", Operation::ImageTag, &[("repo", Honoured), ("tag", Honoured)]),
    line(
        "DELETE",
        "/images/**",
        Operation::ImageRemove,
        &[("force", Honoured), ("noprune", Honoured), ("platforms", NotBuilt(&[]))],
    ),
    line("GET", "/networks", Operation::NetworkList, &[("filters", Honoured)]),
    line("GET", "/networks/*", Operation::NetworkInspect, &[("verbose", Honoured), ("scope", Honoured)]),
    line("POST", "/networks/prune", Operation::NetworkPrune, &[("filters", Honoured)]),
    line("DELETE", "/networks/*", Operation::NetworkRemove, &[]),
    later("POST", "/networks/create"),
    later("POST", "/networks/*/connect"),
    later("POST", "/networks/*/disconnect"),
    line("GET", "/volumes", Operation::VolumeList, &[("filters", Honoured)]),
    line("POST", "/volumes/prune", Operation::VolumePrune, &[("filters", Honoured)]),
    line("POST", "/volumes/create", Operation::VolumeCreate, &[]),
    line("GET", "/volumes/*", Operation::VolumeInspect, &[]),
    later("PUT", "/volumes/*"),
    line("DELETE", "/volumes/*", Operation::VolumeRemove, &[("force", Honoured)]),
    line(
        "POST",
        "/commit",
        Operation::Commit,
        &[
            ("container", Honoured),
            ("repo", Honoured),
            ("tag", Honoured),
            ("comment", Honoured),
            ("author", Honoured),
            ("pause", Honoured),
            ("changes", NotBuilt(&[])),
        ],
    ),
    later("POST", "/build"),
    later("POST", "/build/prune"),
    later("POST", "/build/cancel"),
    later("POST", "/session"),
    later("POST", "/grpc"),
    later("GET", "/distribution/**/json"),
    later("GET", "/containers/*/checkpoints"),
    later("POST", "/containers/*/checkpoints"),
    later("DELETE", "/containers/*/checkpoints/*"),
    line("GET", "/plugins", Operation::PluginList, &[("filters", Honoured)]),
    later("GET", "/plugins/privileges"),
    later("POST", "/plugins/pull"),
    later("POST", "/plugins/create"),
    // There are none, and asking for one is how clients find out what a name means.
    line("GET", "/plugins/**/json", Operation::PluginInspect, &[]),
    later("POST", "/plugins/**/enable"),
    later("POST", "/plugins/**/disable"),
    later("POST", "/plugins/**/upgrade"),
    later("POST", "/plugins/**/push"),
    later("POST", "/plugins/**/set"),
    later("DELETE", "/plugins/**"),
    swarm("GET", "/swarm"),
    later("POST", "/swarm/init"),
    later("POST", "/swarm/join"),
    swarm("POST", "/swarm/leave"),
    swarm("POST", "/swarm/update"),
    swarm("GET", "/swarm/unlockkey"),
    swarm("POST", "/swarm/unlock"),
    swarm("GET", "/nodes"),
    swarm("GET", "/nodes/*"),
    swarm("DELETE", "/nodes/*"),
    swarm("POST", "/nodes/*/update"),
    swarm("GET", "/services"),
    swarm("POST", "/services/create"),
    swarm("GET", "/services/*"),
    swarm("DELETE", "/services/*"),
    swarm("POST", "/services/*/update"),
    swarm("GET", "/services/*/logs"),
    swarm("GET", "/tasks"),
    swarm("GET", "/tasks/*"),
    swarm("GET", "/tasks/*/logs"),
    swarm("GET", "/secrets"),
    swarm("POST", "/secrets/create"),
    swarm("GET", "/secrets/*"),
    swarm("DELETE", "/secrets/*"),
    swarm("POST", "/secrets/*/update"),
    swarm("GET", "/configs"),
    swarm("POST", "/configs/create"),
    swarm("GET", "/configs/*"),
    swarm("DELETE", "/configs/*"),
    swarm("POST", "/configs/*/update"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str, query: &str) -> Result<Found, ApiError> {
        find(&method.parse().unwrap(), path, query)
    }

    #[test]
    fn image_names_may_hold_slashes_and_escapes() {
        for (path, name) in [
            ("/images/busybox/json", "busybox"),
            ("/images/localhost:5000/a/b/json", "localhost:5000/a/b"),
            ("/images/json/json", "json"),
            ("/images/a%2Fb:1/json", "a/b:1"),
        ] {
            let found = found("GET", path, "").unwrap();
            assert_eq!((found.operation, found.names), (Operation::ImageInspect, vec![name.to_owned()]), "{path}");
        }
        assert_eq!(found("GET", "/images/json", "").unwrap().operation, Operation::ImageList);
        assert_eq!(found("DELETE", "/images/a/b:1", "").unwrap().names, ["a/b:1"]);
    }

    #[test]
    fn unknown_pages_are_404_and_later_ones_501_by_name() {
        let unknown = found("GET", "/nosuch", "").unwrap_err();
        assert_eq!((unknown.status().as_u16(), unknown.message()), (404, "page not found"));
        assert_eq!(found("GET", "/containers//json", "").unwrap_err().status().as_u16(), 404);
        assert_eq!(found("PUT", "/containers/json", "").unwrap_err().status().as_u16(), 404);
        let later = found("POST", "/images/a/push", "").unwrap_err();
        assert_eq!(
            (later.status().as_u16(), later.message()),
            (501, "POST /images/{name}/push is not built yet in orlop")
        );
        assert_eq!(found("GET", "/services", "").unwrap_err().status().as_u16(), 503);
    }

    #[test]
    fn parameters_are_honoured_refused_or_counted() {
        assert_eq!(found("GET", "/containers/json", "all=1&nosuch=2&other").unwrap().unknown, 2);
        let refused = found("POST", "/images/create", "fromSrc=-").unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.message()), (501, "fromSrc is not built yet in orlop"));
        assert!(found("GET", "/images/json", "manifests=0").is_ok());
        assert!(found("GET", "/images/json", "manifests=1").is_err());
        // As Python writes it.
        assert!(found("DELETE", "/containers/a", "v=False&link=False&force=False").is_ok());
    }
}
