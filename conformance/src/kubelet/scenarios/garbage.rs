//! What is left of dead containers and of pods that are gone is removed by the kubelet: first containers, then sandboxes, logs last.

use crate::kubelet::pod::{Pod, container, wait};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use orlop_testkit::client::v1;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// A kubelet collects once a minute.
const COLLECTED_LIMIT: Duration = Duration::from_secs(150);
/// Label by which a kubelet finds what is a pod's.
const POD_UID: &str = "io.kubernetes.pod.uid";

pub fn play(stage: &Stage) -> Verdict {
    let script = "[ -e /v/3 ] && exec sleep 1000; touch /v/`ls /v | wc -l`; exit 1";
    let mut main = container(stage, "main", script);
    main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let pod = Pod::ask(stage, "garbage", json!({"containers": [main], "volumes": [{"name": "v", "emptyDir": {}}]}))?;
    let uid = pod.until("it was started again", |state| {
        (state.container("main")?.restarts() >= 2).then(|| state.uid().to_owned())
    })?;
    let logs = pod.log_folder("main").and_then(|folder| folder.parent().map(ToOwned::to_owned)).unwrap_or_default();
    // The one that runs or waits, and one dead one a container: the default of kubelets.
    let few = wait(COLLECTED_LIMIT, || (containers(stage, &uid)? <= 2).then_some(()))?;
    few.ok_or_else(|| format!("there are still {:?} containers", containers(stage, &uid)))?;
    same("whether what lives is still there", containers(stage, &uid).unwrap_or_default() >= 1, true)?;
    same("sandboxes of the living pod", sandboxes(stage, &uid), Some(1))?;
    same("whether its logs are there", logs.exists(), true)?;
    pod.remove()?;
    let none = wait(COLLECTED_LIMIT, || {
        (containers(stage, &uid)? == 0 && sandboxes(stage, &uid)? == 0 && !logs.exists()).then_some(())
    })?;
    same("whether all was collected", none, Some(())).map_err(|why| {
        let left = (containers(stage, &uid), sandboxes(stage, &uid), logs.exists());
        format!("{why}: containers, sandboxes, logs: {left:?}")
    })
}

fn containers(stage: &Stage, uid: &str) -> Option<usize> {
    let label_selector = HashMap::from([(POD_UID.to_owned(), uid.to_owned())]);
    let filter = v1::ContainerFilter { label_selector, ..Default::default() };
    let request = v1::ListContainersRequest { filter: Some(filter) };
    Some(stage.client().list_containers(request).ok()?.containers.len())
}

fn sandboxes(stage: &Stage, uid: &str) -> Option<usize> {
    let label_selector = HashMap::from([(POD_UID.to_owned(), uid.to_owned())]);
    let filter = v1::PodSandboxFilter { label_selector, ..Default::default() };
    let request = v1::ListPodSandboxRequest { filter: Some(filter) };
    Some(stage.client().list_pod_sandbox(request).ok()?.items.len())
}
