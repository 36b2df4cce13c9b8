//! Links, addresses, routes, nf_tables and sysctls of the network namespace of the calling thread.
//!
//! Read through `ip` and `nft` on purpose: the guard must not trust the code whose leaks it looks for.

use super::host::{entries, is_folder};
use super::snapshot::{Kind, Snapshot};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Sysctl files that move by themselves, or that are not settings at all.
const RESTLESS_SYSCTLS: [&str; 9] = [
    "nf_conntrack_count",
    "ns_last_pid",
    "stat_refresh",
    "perf_event_max_sample_rate",
    "tainted",
    "drop_caches",
    "flush",
    "bpf_stats_enabled",
    "error_cost",
];

/// Folders of kernel settings outside `net` that runtimes and kubelets set, each read without its subfolders.
const HOST_SYSCTL_FOLDERS: [&str; 5] = ["kernel", "vm", "fs/mqueue", "fs/inotify", "user"];

/// Adds everything about the network of the calling thread.
pub fn add_network(snapshot: &mut Snapshot, place: &str) {
    add_links(snapshot, place);
    add_routes(snapshot, place);
    add_nft(snapshot, place);
    // `/proc/sys/net` shows the namespace of the thread that looks.
    add_sysctl_tree(snapshot, place, Path::new("/proc/sys/net"));
}

/// Adds the settings of the host that belong to no network namespace.
pub fn add_host_sysctls(snapshot: &mut Snapshot) {
    for folder in HOST_SYSCTL_FOLDERS {
        let folder = Path::new("/proc/sys").join(folder);
        for file in entries(&folder).into_iter().filter(|entry| !is_folder(entry)) {
            add_sysctl(snapshot, "", &file);
        }
    }
}

fn add_links(snapshot: &mut Snapshot, place: &str) {
    for link in rows(&json_of("ip", &["-j", "address", "show"])) {
        let name = text(link, "ifname");
        snapshot.add(Kind::Link, place, name, "");
        for address in rows(&link["addr_info"]) {
            let what = format!("{}/{} on {name}", text(address, "local"), address["prefixlen"]);
            snapshot.add(Kind::Address, place, what, "");
        }
    }
}

fn add_routes(snapshot: &mut Snapshot, place: &str) {
    for route in rows(&json_of("ip", &["-j", "route", "show"])) {
        let what = format!("{} via {} dev {}", text(route, "dst"), text(route, "gateway"), text(route, "dev"));
        snapshot.add_counted(Kind::Route, place, &what);
    }
}

fn add_nft(snapshot: &mut Snapshot, place: &str) {
    for object in rows(&json_of("nft", &["-j", "list", "ruleset"])["nftables"]) {
        for (kind, body) in object.as_object().into_iter().flatten().filter(|(kind, _)| *kind != "metainfo") {
            snapshot.add_counted(Kind::Nft, place, &nft_name(kind, body));
        }
    }
}

/// Names an object of nf_tables: `table ip orlop`; a rule by what it says, without what merely counts.
fn nft_name(kind: &str, body: &Value) -> String {
    let words = ["family", "table", "chain", "name"].map(|key| text(body, key));
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let mut detail = body["expr"].clone();
    drop_counts(&mut detail);
    let detail = if detail.is_null() { String::new() } else { format!(" {detail}") };
    format!("{kind} {}{detail}", words.join(" "))
}

fn drop_counts(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for key in ["handle", "packets", "bytes"] {
                fields.remove(key);
            }
            fields.values_mut().for_each(drop_counts);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_counts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

fn add_sysctl_tree(snapshot: &mut Snapshot, place: &str, folder: &Path) {
    for entry in entries(folder) {
        if is_folder(&entry) {
            if !belongs_to_a_link(&entry) {
                add_sysctl_tree(snapshot, place, &entry);
            }
        } else {
            add_sysctl(snapshot, place, &entry);
        }
    }
}

/// `net/ipv4/conf/eth0`: such settings come and go with their link.
fn belongs_to_a_link(folder: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = folder.parent().map(name).unwrap_or_default();
    matches!(parent.as_str(), "conf" | "neigh") && !matches!(name(folder).as_str(), "all" | "default")
}

fn add_sysctl(snapshot: &mut Snapshot, place: &str, file: &Path) {
    let restless = file.file_name().is_none_or(|name| RESTLESS_SYSCTLS.iter().any(|restless| name == *restless));
    // Some are for writing only; what can't be read can't be compared.
    if let (false, Ok(value)) = (restless, fs::read_to_string(file)) {
        let name = file.strip_prefix("/proc/sys").unwrap_or(file).display().to_string().replace('/', ".");
        snapshot.add(Kind::Sysctl, place, name, value.trim_end());
    }
}

/// Runs a program that prints JSON. Nothing printed is an empty list: `ip -j route` of an empty table.
fn json_of(program: &str, arguments: &[&str]) -> Value {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("run {program}: {e}; scripts/setup installs it"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    if output.stdout.trim_ascii().is_empty() {
        return Value::Array(Vec::new());
    }
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{program} {arguments:?} printed no JSON: {e}"))
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_named_by_what_they_say_and_not_by_what_they_count() {
        let rule = |packets: u32| {
            json!({"family": "ip", "table": "t", "chain": "c", "handle": packets,
                   "expr": [{"counter": {"packets": packets, "bytes": 1}}, {"accept": null}]})
        };
        assert_eq!(nft_name("rule", &rule(1)), nft_name("rule", &rule(2)));
        assert!(nft_name("rule", &rule(1)).starts_with("rule ip t c ["));
    }

    #[test]
    fn settings_of_links_are_told_from_those_of_the_namespace() {
        for (path, expected) in [
            ("/proc/sys/net/ipv4/conf/eth0", true),
            ("/proc/sys/net/ipv4/conf/all", false),
            ("/proc/sys/net/ipv6/neigh/default", false),
            ("/proc/sys/net/netfilter", false),
        ] {
            assert_eq!(belongs_to_a_link(Path::new(path)), expected, "{path}");
        }
    }
}
