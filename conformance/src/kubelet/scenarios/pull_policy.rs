//! When images are pulled, and what happens when they can't be.

use crate::kubelet::image::{NEVER, PULLED};
use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

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
    // It is there now, and with Never it is taken as it is.
    let present = Pod::ask(stage, "pull-present", spec(stage.reference(PULLED), "Never"))?;
    same("phase of one that is present", present.ended()?.phase(), "Succeeded")?;
    never
        .until("it is not pulled", |state| (state.container("main")?.waiting() == "ErrImageNeverPull").then_some(()))?;
    missing.until("its image can't be pulled", |state| {
        matches!(state.container("main")?.waiting(), "ErrImagePull" | "ImagePullBackOff").then_some(())
    })
}
