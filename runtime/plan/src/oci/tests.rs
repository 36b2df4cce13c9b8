use super::*;
use oci_spec::runtime as oracle;
use serde_json::json;

/// Everything that the oracle's types have and this crate looks at, beside its defaults.
fn rich() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "hostname": "h", "domainname": "d",
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "terminal": true, "consoleSize": {"height": 1, "width": 2}, "cwd": "/",
            "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3, 4]},
            "args": ["sh", "-c", "x"], "env": ["A=b", "C"],
            "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"],
                             "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 18446744073709551615_u64, "soft": 5}],
            "noNewPrivileges": true, "oomScoreAdj": -5, "apparmorProfile": "p", "selinuxLabel": "l"
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]}, {"destination": "/a"}],
        "hooks": {"poststop": [{"path": "/bin/x", "args": ["x"], "env": [], "timeout": 3}]},
        "annotations": {"a": "b"},
        "linux": {
            "uidMappings": [{"containerID": 0, "hostID": 5, "size": 6}],
            "gidMappings": [{"containerID": 0, "hostID": 5, "size": 6}],
            "sysctl": {"net.ipv4.ip_forward": "1"},
            "cgroupsPath": "/a/b",
            "namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}, {"type": "mount"}],
            "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
            "rootfsPropagation": "slave", "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
            "mountLabel": "m", "personality": {"domain": "LINUX"},
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1,
                              "args": [{"index": 0, "value": 18446744073709551615_u64, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]}]
            },
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "r"}],
                "memory": {"limit": 5, "reservation": 4, "swap": -1, "swappiness": 60},
                "cpu": {"shares": 1024, "quota": -1, "period": 100000, "cpus": "0-1", "mems": "0", "burst": 7},
                "pids": {"limit": 9},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
                "unified": {"memory.high": "5"},
                "blockIO": {"weight": 10}
            }
        }
    })
}

/// Ours reads what the oracle wrote, and the oracle reads back from ours what it wrote.
#[track_caller]
fn check(theirs: &oracle::Spec) -> Spec {
    let written = serde_json::to_vec(theirs).unwrap();
    let ours = Spec::parse(&written).unwrap();
    let back: oracle::Spec = serde_json::from_slice(&serde_json::to_vec(&ours).unwrap()).unwrap();
    assert_eq!(prune(serde_json::to_value(theirs).unwrap()), prune(serde_json::to_value(&back).unwrap()));
    assert_eq!(Spec::parse(&serde_json::to_vec(&ours).unwrap()).unwrap(), ours);
    ours
}

/// Takes away what says nothing: empty lists and objects, and false. Sorts capabilities, which the oracle keeps as a set.
fn prune(value: Value) -> Value {
    let says =
        |value: &Value| !(value == &json!([]) || value == &json!({}) || value == &json!(false) || value.is_null());
    match value {
        Value::Object(fields) => fields.into_iter().map(|(k, v)| (k, prune(v))).filter(|(_, v)| says(v)).collect(),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(prune).collect();
            if items.iter().all(|item| item.as_str().is_some_and(|text| text.starts_with("CAP_"))) {
                items.sort_by_key(ToString::to_string);
            }
            items.into()
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

#[test]
fn what_the_oracle_writes_is_read_and_written_without_loss() {
    check(&oracle::Spec::default());
    check(&oracle::Spec::rootless(1000, 1000));
    let ours = check(&serde_json::from_value(rich()).unwrap());
    let process = ours.process.unwrap();
    assert_eq!((process.rlimits[0].hard, process.oom_score_adj), (u64::MAX, Some(-5)));
    assert_eq!(process.env[0].value(), Some(&b"b"[..]));
    let linux = ours.linux.unwrap();
    assert_eq!(linux.seccomp.unwrap().syscalls[0].args[0].value, u64::MAX);
    assert_eq!(linux.resources.unwrap().memory.unwrap().swap, Some(-1));
    assert!(ours.other.contains_key("hooks") && linux.uid_mappings[0].node == 5);
}

#[test]
fn unknown_names_and_nulls_do_not_fail_the_parse() {
    let mut spec = rich();
    spec["process"]["capabilities"]["bounding"] = json!(["CAP_FLY"]);
    spec["linux"]["namespaces"] = json!([{"type": "weather"}]);
    spec["linux"]["seccomp"]["defaultAction"] = json!("SCMP_ACT_DANCE");
    spec["linux"]["maskedPaths"] = Value::Null;
    spec["process"]["args"] = Value::Null;
    spec["from the future"] = json!({"a": 1});
    assert!(serde_json::from_value::<oracle::Spec>(spec.clone()).is_err());
    let ours = Spec::parse(&serde_json::to_vec(&spec).unwrap()).unwrap();
    assert!(ours.other.contains_key("from the future"));
}

#[test]
fn what_is_no_spec_is_refused() {
    for bad in [&b""[..], b"[]", b"{}", br#"{"ociVersion": 1}"#, br#"{"ociVersion":"1.0.0","mounts":3}"#] {
        assert!(Spec::parse(bad).unwrap_err().to_string().starts_with("config.json is not an OCI spec"));
    }
}
