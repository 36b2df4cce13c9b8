//! When images are pulled, and what happens when they can't be.

use crate::kubelet::image::{NEVER, PULLED};
use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;
use std::fs;

/// Whether the registry is asked what a tag names.
#[derive(Debug, PartialEq, Eq)]
enum Asks {
    Yes,
    No,
}

pub fn play(stage: &Stage) -> Verdict {
    let spec = |image: String, policy: &str| {
        let main = with(container(stage, "main", "cat /image"), json!({"image": image, "imagePullPolicy": policy}));
        json!({"restartPolicy": "Never", "containers": [main]})
    };
    let never = Pod::ask(stage, "pull-never", spec(stage.reference(NEVER), "Never"))?;
    let missing = Pod::ask(stage, "pull-missing", spec(stage.reference(("kubelet/nobody", "1")), "IfNotPresent"))?;
    let always = Pod::ask(stage, "pull-always", spec(stage.reference(PULLED), "Always"))?;
    same("phase of one pulled always", always.ended()?.phase(), "Succeeded")?;
    same("the log of one pulled always", always.log("main").trim(), PULLED.0)?;
    // It is there now: the registry is asked again with Always alone.
    for (name, policy, asks) in [
        ("pull-present", "IfNotPresent", Asks::No),
        ("pull-not", "Never", Asks::No),
        ("pull-again", "Always", Asks::Yes),
    ] {
        let before = questions(stage);
        let pod = Pod::ask(stage, name, spec(stage.reference(PULLED), policy))?;
        same(&format!("phase of one that is present, with {policy}"), pod.ended()?.phase(), "Succeeded")?;
        let asked = if questions(stage) > before { Asks::Yes } else { Asks::No };
        same(&format!("whether the registry was asked with {policy}"), asked, asks)?;
    }
    never
        .until("it is not pulled", |state| (state.container("main")?.waiting() == "ErrImageNeverPull").then_some(()))?;
    missing.until("its image can't be pulled", |state| {
        matches!(state.container("main")?.waiting(), "ErrImagePull" | "ImagePullBackOff").then_some(())
    })
}

/// Counts how often the registry was asked what the tag names.
fn questions(stage: &Stage) -> usize {
    let (repository, tag) = PULLED;
    let log = fs::read_to_string(stage.ground().join("registry.log")).unwrap_or_default();
    log.matches(&format!("/v2/{repository}/manifests/{tag} ")).count()
}
