//! Users, groups, capabilities, a root that can't be written, no new privileges, system call filters, safe kernel settings.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

/// `CAP_NET_ADMIN`, bit 12, and `CAP_CHOWN`, bit 0: the only ones left. capabilities(7).
const LEFT: &str = "CapBnd:\t0000000000001001";
const ALL_FILTERED: &str = "Seccomp:\t2";
const NONE_FILTERED: &str = "Seccomp:\t0";

pub fn play(stage: &Stage) -> Verdict {
    let status = "grep -E '^(Uid|Gid|Groups|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status";
    let volume = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let strict = with(
        container(
            stage,
            "strict",
            &format!("{status}; touch /v/f; ls -ln /v/f; ls -ldn /v; touch /x || echo refused; echo end; sleep 1000"),
        ),
        with(
            volume,
            json!({"securityContext": {
                "runAsUser": 1234, "runAsGroup": 2345, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "CHOWN"]},
            }}),
        ),
    );
    let loose = with(
        container(
            stage,
            "loose",
            &format!("{status}; id; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; echo end; sleep 1000"),
        ),
        json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
    );
    let root = with(
        container(
            stage,
            "privileged",
            &format!(
                "{status}; mkdir -p /mnt; mount -t tmpfs none /mnt && echo mounted; ls /dev/kmsg; echo end; sleep 1000"
            ),
        ),
        json!({"securityContext": {"privileged": true, "runAsUser": 0, "runAsGroup": 0}}),
    );
    let spec = json!({
        "securityContext": {
            "runAsUser": 33, "runAsGroup": 33, "fsGroup": 4567, "supplementalGroups": [5678],
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "containers": [strict, loose, root],
        "volumes": [{"name": "v", "emptyDir": {}}],
    });
    let pod = Pod::ask(stage, "security-context", spec)?;
    pod.ready()?;
    let words = ["Uid:\t1234\t1234", "Gid:\t2345\t2345", "4567 5678", LEFT, "NoNewPrivs:\t1", ALL_FILTERED, "refused"];
    let log = pod.told("strict", &words, "end\n")?;
    same(
        "owner of its file",
        log.lines().any(|line| line.contains("1234") && line.contains("4567") && line.ends_with("/v/f")),
        true,
    )?;
    let words = ["Uid:\t33\t33", "NoNewPrivs:\t0", NONE_FILTERED, "groups=33(www-data),4567,5678"];
    let log = pod.told("loose", &words, "end\n")?;
    same("the kernel setting", log.lines().rev().nth(1), Some("0"))?;
    pod.told("privileged", &["Uid:\t0\t0", NONE_FILTERED, "mounted", "/dev/kmsg"], "end\n")?;

    // A user that the pod forbids is refused before anything runs.
    let spec = json!({"securityContext": {"runAsNonRoot": true}, "containers": [container(stage, "main", "echo ran")]});
    let pod = Pod::ask(stage, "run-as-root", spec)?;
    pod.until("root is refused", |state| {
        (state.container("main")?.waiting() == "CreateContainerConfigError").then_some(())
    })
}
