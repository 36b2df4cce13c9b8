//! ContainerStatus.

use super::list::image_spec;
use super::shown;
use crate::json::of_message;
use crate::proto::{
    ContainerConfig, ContainerResources, ContainerStatus, ContainerStatusRequest, ContainerStatusResponse,
    ContainerUser, LinuxContainerUser,
};
use crate::service::Cri;
use crate::translate::{resources, signal};
use orlop_model::Failure;
use orlop_model::container_state::{Checked, ContainerState, Ended, Exit};
use orlop_usecases::ContainerView;
use serde_json::json;
use std::collections::BTreeMap;

/// Exit code where there is none to report: what a kill would have given, as the kubelet itself reports it.
const NO_EXIT_CODE: i32 = 137;

/// Says what a container is.
pub(crate) async fn status(cri: &Cri, request: ContainerStatusRequest) -> Result<ContainerStatusResponse, Failure> {
    let view = cri.container(&request.container_id)?;
    let made_from = cri.annexes.container(&view.asked)?;
    let config = made_from.config.clone().unwrap_or_default();
    let mut info = BTreeMap::new();
    if request.verbose {
        info.insert("info".to_owned(), verbose(&view, &config));
    }
    Ok(ContainerStatusResponse { status: Some(of_view(&view, config)), info })
}

pub(crate) fn of_view(view: &ContainerView, config: ContainerConfig) -> ContainerStatus {
    let spec = &view.asked.spec;
    let image = spec.image.to_string();
    let end = end(&view.state);
    let checked = view.state.checked();
    let log_path = spec.log.as_ref().map(|log| log.directory.join(&log.file).to_string_lossy().into_owned());
    let linux = resources::shown(&view.asked.resources);
    ContainerStatus {
        id: view.asked.id.to_string(),
        image: Some(image_spec(&image, &config)),
        metadata: config.metadata,
        state: shown(&view.state) as i32,
        created_at: view.asked.created_at.0,
        started_at: end.started_at,
        finished_at: end.finished_at,
        exit_code: end.exit_code,
        image_ref: image.clone(),
        reason: end.reason.to_owned(),
        message: end.message,
        labels: config.labels,
        annotations: config.annotations,
        mounts: config.mounts,
        log_path: log_path.unwrap_or_default(),
        resources: Some(ContainerResources { linux: Some(linux), windows: None }),
        image_id: image,
        user: checked.map(user),
        stop_signal: checked.map_or(0, |checked| signal::shown(checked.stop_signal) as i32),
    }
}

/// When a container ran, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct End {
    started_at: i64,
    finished_at: i64,
    exit_code: i32,
    reason: &'static str,
    message: String,
}

fn end(state: &ContainerState) -> End {
    if let Some(ended) = state.end() {
        return of_ended(ended);
    }
    match state {
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => {
            End::default()
        }
        ContainerState::Running(task)
        | ContainerState::Frozen(task)
        | ContainerState::Stopping { task, .. }
        | ContainerState::Lost(task) => End { started_at: task.started.0, ..End::default() },
        // It is being killed, and nobody has seen its end yet.
        ContainerState::Exited { .. } | ContainerState::Removing(_) | ContainerState::Gone { .. } => {
            End { exit_code: NO_EXIT_CODE, reason: UNKNOWN, message: "is being removed".to_owned(), ..End::default() }
        }
    }
}

const OOM_KILLED: &str = "OOMKilled";
const UNKNOWN: &str = "ContainerStatusUnknown";

fn of_ended(ended: &Ended) -> End {
    let (exit_code, reason, message) = match &ended.exit {
        // The kernel may have killed a child, and the program gone on to end as it likes: still the memory was too little.
        Exit::Code { code, oom: true } => (i32::from(*code), OOM_KILLED, String::new()),
        Exit::Code { code: 0, oom: false } => (0, "Completed", String::new()),
        Exit::Code { code, oom: false } => (i32::from(*code), "Error", String::new()),
        Exit::Signal { signal, oom: true } => (128 + i32::from(*signal), OOM_KILLED, String::new()),
        Exit::Signal { signal, oom: false } => (128 + i32::from(*signal), "Error", String::new()),
        Exit::NeverStarted { code, message } => (i32::from(*code), "StartError", message.clone()),
        Exit::Unstarted => (NO_EXIT_CODE, "Error", "was stopped before it was started".to_owned()),
        Exit::Unknown => (NO_EXIT_CODE, UNKNOWN, "nobody saw it end".to_owned()),
    };
    End {
        started_at: ended.started.map_or(0, |started| started.0),
        finished_at: ended.finished.0,
        exit_code,
        reason,
        message,
    }
}

fn user(checked: &Checked) -> ContainerUser {
    ContainerUser {
        linux: Some(LinuxContainerUser {
            uid: checked.uid.into(),
            gid: checked.gid.into(),
            supplemental_groups: checked.groups.iter().map(|&group| group.into()).collect(),
        }),
    }
}

/// Kinds of namespaces as an OCI spec calls them, and as /proc does.
const NAMESPACES: [(&str, &str); 6] =
    [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("mount", "mnt"), ("cgroup", "cgroup")];

fn verbose(view: &ContainerView, config: &ContainerConfig) -> String {
    let pid = view.state.task().map(|task| task.pid);
    let mut info = json!({
        "sandboxID": view.asked.spec.sandbox.to_string(),
        "pid": pid.unwrap_or(0),
        "state": format!("{:?}", view.state),
        "config": of_message("ContainerConfig", config),
    });
    // Scripts read where the namespaces of a running container are from here.
    if let Some(pid) = pid {
        let namespaces = NAMESPACES.map(|(name, file)| json!({"type": name, "path": format!("/proc/{pid}/ns/{file}")}));
        info["runtimeSpec"] = json!({"linux": {"namespaces": namespaces}});
    }
    info.to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::proto::{ContainerMetadata, ContainerState as Shown, ImageSpec, Mount, Signal};
    use orlop_model::container::*;
    use orlop_model::container_state::{Leave, Leaving, Preparing, Removal, Stopping, Task};
    use orlop_model::record::{ContainerAsked, Durability};
    use orlop_model::{ContainerId, Digest, ImageId, NaturalKey, SandboxId, Timestamp};
    use std::sync::Arc;

    pub(crate) fn config() -> ContainerConfig {
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: "c".into(), attempt: 1 }),
            image: Some(ImageSpec { user_specified_image: "busybox:latest".into(), ..Default::default() }),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            mounts: vec![Mount { container_path: "/d".into(), propagation: 2, ..Default::default() }],
            ..Default::default()
        }
    }

    pub(crate) fn view(state: ContainerState) -> ContainerView {
        let (key, sandbox) = (NaturalKey("pod1/c/1".into()), SandboxId::parse("pod1").unwrap());
        let image = ImageId(Digest::parse(&format!("sha256:{}", "2".repeat(64))).unwrap());
        let log = Some(LogPath { directory: "/var/log/pods/p".into(), file: "c/1.log".into() });
        let spec = ContainerSpec { log, ..ContainerSpec::new(crate::namespace(), key, sandbox, image) };
        let asked = ContainerAsked {
            id: ContainerId::parse("c1").unwrap(),
            created_at: Timestamp(5),
            spec,
            resources: Resources { memory_bytes_max: 99, ..Default::default() },
            update: None,
            checked: None,
            annex_generation: 0,
            annex: Vec::new(),
            durability: Durability::Boot,
        };
        ContainerView::new(Arc::new(asked), state)
    }

    fn checked_sample() -> Checked {
        Checked { uid: 1, gid: 2, groups: vec![3], stop_signal: 15 }
    }

    fn task() -> Task {
        Task { pid: 42, started: Timestamp(6), checked: checked_sample() }
    }

    fn exited(exit: Exit) -> ContainerState {
        let ended = Ended { started: Some(Timestamp(6)), finished: Timestamp(8), exit };
        ContainerState::Exited { ended, checked: checked_sample(), task: None }
    }

    fn removing(last: Option<Ended>) -> ContainerState {
        let leave = Leave { stage: Leaving::Task, failures: 0, retry_at: None };
        ContainerState::Removing(Removal { leave, why: None, last, checked: Some(checked_sample()) })
    }

    #[test]
    fn a_container_that_leaves_shows_how_it_ended() {
        let exit = Exit::Code { code: 7, oom: false };
        let ended = Ended { started: Some(Timestamp(6)), finished: Timestamp(8), exit };
        let status = of_view(&view(removing(Some(ended))), config());
        assert_eq!((status.exit_code, status.reason.as_str(), status.finished_at), (7, "Error", 8));
        assert_eq!(status.stop_signal, Signal::Sigterm as i32);
        let status = of_view(&view(removing(None)), config());
        assert_eq!((status.exit_code, status.reason.as_str()), (NO_EXIT_CODE, UNKNOWN));
    }

    #[test]
    fn every_state_has_its_word() {
        for (state, expected) in [
            (ContainerState::Creating { since: Timestamp(1), stage: Preparing::Rootfs }, Shown::ContainerCreated),
            (ContainerState::Created { checked: checked_sample() }, Shown::ContainerCreated),
            (
                ContainerState::Starting { since: Timestamp(1), checked: checked_sample(), stop: None, signal: None },
                Shown::ContainerCreated,
            ),
            (ContainerState::Running(task()), Shown::ContainerRunning),
            (ContainerState::Frozen(task()), Shown::ContainerRunning),
            (
                ContainerState::Stopping {
                    task: task(),
                    deadline: Timestamp(9),
                    how: Stopping::Asked,
                    ask_again: None,
                    signal: None,
                },
                Shown::ContainerRunning,
            ),
            (ContainerState::Lost(task()), Shown::ContainerUnknown),
            (exited(Exit::Unknown), Shown::ContainerExited),
            (removing(None), Shown::ContainerExited),
            (ContainerState::Gone { why: None }, Shown::ContainerExited),
        ] {
            assert_eq!(shown(&state), expected, "{state:?}");
        }
    }

    #[test]
    fn every_end_has_its_code_and_its_reason() {
        for (exit, code, reason, message) in [
            (Exit::Code { code: 0, oom: false }, 0, "Completed", ""),
            (Exit::Code { code: 7, oom: false }, 7, "Error", ""),
            (Exit::Code { code: 137, oom: true }, 137, "OOMKilled", ""),
            (Exit::Code { code: 0, oom: true }, 0, "OOMKilled", ""),
            (Exit::Signal { signal: 9, oom: true }, 137, "OOMKilled", ""),
            (Exit::Signal { signal: 15, oom: false }, 143, "Error", ""),
            (Exit::NeverStarted { code: 127, message: "no such file".into() }, 127, "StartError", "no such file"),
            (Exit::Unstarted, 137, "Error", "before it was started"),
            (Exit::Unknown, 137, "ContainerStatusUnknown", "nobody saw"),
        ] {
            let status = of_view(&view(exited(exit)), config());
            assert_eq!((status.exit_code, status.reason.as_str()), (code, reason));
            assert!(status.message.contains(message), "{}", status.message);
            assert_eq!((status.started_at, status.finished_at), (6, 8));
        }
    }

    #[test]
    fn a_status_shows_what_was_asked_for_and_what_is() {
        let view = view(ContainerState::Running(task()));
        let status = of_view(&view, config());
        assert_eq!((status.id.as_str(), status.created_at, status.started_at), ("c1", 5, 6));
        assert_eq!(status.log_path, "/var/log/pods/p/c/1.log");
        assert_eq!(status.mounts, config().mounts);
        assert_eq!(status.labels, config().labels);
        assert_eq!(status.resources.unwrap().linux.unwrap().memory_limit_in_bytes, 99);
        let user = status.user.unwrap().linux.unwrap();
        assert_eq!((user.uid, user.gid, user.supplemental_groups), (1, 2, vec![3]));
        assert_eq!(status.stop_signal, Signal::Sigterm as i32);
        let image = status.image.unwrap();
        assert_eq!([&status.image_ref, &image.image], [&status.image_id; 2]);
        let info: serde_json::Value = serde_json::from_str(&verbose(&view, &config())).unwrap();
        assert_eq!((&info["pid"], &info["sandboxID"]), (&json!(42), &json!("pod1")));
        assert_eq!(info["runtimeSpec"]["linux"]["namespaces"][1]["path"], "/proc/42/ns/net");
        assert_eq!(info["config"]["metadata"]["name"], "c");
    }
}
