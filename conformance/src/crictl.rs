//! The real crictl: every command once on a thing that is there, and once on one that isn't.

use crate::crictl_events::Listener;
use crate::images::{self, BUSYBOX};
use crate::script::{Output, Script, Verdict, holds, same};
use crate::subject::{Subject, Which};
use crate::tools;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// An id of the right form that nothing has.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// An image that no registry has.
const NO_IMAGE: &str = "registry.k8s.io/e2e-test-images/not-there:1";
/// Names in the script.
const POD: &str = "crictl-pod";
const CONTAINER: &str = "crictl-container";

/// The script's surroundings.
struct Crictl<'a> {
    subject: &'a Subject,
    program: PathBuf,
}

/// What the script made and goes on with.
struct Made {
    pod: String,
    container: String,
}

/// Runs the script; returns whether nothing failed.
pub fn run(against: Which) -> io::Result<bool> {
    let program = tools::crictl()?;
    let subject = Subject::start(against, &images::small()?)?;
    let mut script = Script::default();
    let crictl = Crictl { subject: &subject, program };
    // Long before there is something to hear: nobody says when it listens.
    let listener = Listener::start(crictl.command(&["events"]), subject.ground().join("events.json"))?;
    about_the_node(&crictl, &mut script);
    about_images(&crictl, &mut script);
    match make(&crictl, &mut script)? {
        Some(made) => {
            look(&crictl, &mut script, &made);
            unmake(&crictl, &mut script, &made);
            listener.judge(&mut script, &made.pod, &made.container);
        }
        None => script.skip("what needs a container", "it could not be made"),
    }
    absent_objects(&crictl, &mut script)?;
    remove_image(&crictl, &mut script);
    Ok(script.close("crictl"))
}

impl Crictl<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        self.command_to(&self.subject.socket().display().to_string(), arguments)
    }

    fn command_to(&self, socket: &str, arguments: &[&str]) -> Command {
        let mut command = self.subject.ground().command(&self.program);
        let endpoint = format!("unix://{socket}");
        command.args(["--runtime-endpoint", &endpoint, "--image-endpoint", &endpoint, "--timeout", "30s"]);
        command.args(arguments);
        command
    }

    fn check<T>(
        &self,
        script: &mut Script,
        arguments: &[&str],
        judge: impl FnOnce(&Output) -> Verdict<T>,
    ) -> Option<T> {
        script.check(&format!("crictl {}", arguments.join(" ")), self.command(arguments), judge)
    }

    /// Writes a config for crictl and returns its path.
    fn file(&self, name: &str, content: &Value) -> io::Result<String> {
        let path = self.subject.ground().join(name);
        fs::write(&path, content.to_string())?;
        Ok(path.display().to_string())
    }

    fn pod_file(&self) -> io::Result<String> {
        let logs = self.subject.ground().join("logs").display().to_string();
        let metadata = json!({"name": POD, "namespace": "conformance", "uid": "crictl-uid", "attempt": 1});
        self.file(
            "pod.json",
            &json!({"metadata": metadata, "log_directory": logs, "labels": {"by": "crictl"}, "linux": {}}),
        )
    }

    fn container_file(&self) -> io::Result<String> {
        let program = "echo ready to serve; trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
        self.file(
            "container.json",
            &json!({
                "metadata": {"name": CONTAINER}, "image": {"image": BUSYBOX},
                "command": ["sh", "-c", program], "log_path": "container.log", "linux": {},
            }),
        )
    }
}

fn about_the_node(crictl: &Crictl<'_>, script: &mut Script) {
    let name = format!("RuntimeName:  {}", crictl.subject.name());
    crictl.check(script, &["version"], |output| output.printed(&["Version:  0.1.0", &name, "RuntimeApiVersion:  v1"]));
    crictl.check(script, &["info"], |output| {
        let info = output.json()?;
        for condition in ["RuntimeReady", "NetworkReady"] {
            let found = find(&info["status"]["conditions"], "type", condition);
            same(condition, found["status"].as_bool(), Some(true))?;
        }
        Ok(())
    });
    // The thing that isn't there is the daemon itself.
    for command in ["version", "info"] {
        let nobody = crictl.command_to("/nobody/listens/here.sock", &[command]);
        script.check(&format!("crictl {command}, with no daemon"), nobody, |output| output.refused(&["here.sock"]));
    }
}

fn about_images(crictl: &Crictl<'_>, script: &mut Script) {
    crictl.check(script, &["pull", BUSYBOX], |output| output.printed(&["Image is up to date for sha256:"]));
    crictl.check(script, &["pull", NO_IMAGE], |output| output.refused(&["not-there"]));
    crictl.check(script, &["images", "-o", "json"], |output| {
        let images = output.json()?;
        let tags = images["images"].as_array().into_iter().flatten().map(|image| &image["repoTags"][0]);
        let tags: Vec<&str> = tags.filter_map(Value::as_str).collect();
        same("the list of tags", tags, vec![BUSYBOX])
    });
    crictl.check(script, &["images", "-q", NO_IMAGE], |output| same("the list", output.text()?, ""));
    crictl.check(script, &["inspecti", BUSYBOX], |output| {
        let status = &output.json()?["status"];
        same("repoTags", &status["repoTags"], &json!([BUSYBOX]))?;
        holds("id", text(status, "id"), &["sha256:"])?;
        let size = text(status, "size").parse::<u64>().unwrap_or_default();
        if size > 0 { Ok(()) } else { Err("the image has no size".to_owned()) }
    });
    crictl.check(script, &["inspecti", NO_IMAGE], |output| output.refused(&["no such image"]));
}

fn make(crictl: &Crictl<'_>, script: &mut Script) -> io::Result<Option<Made>> {
    let (pod_file, container_file) = (crictl.pod_file()?, crictl.container_file()?);
    let Some(pod) = crictl.check(script, &["runp", &pod_file], Output::id) else { return Ok(None) };
    let created = crictl.check(script, &["create", &pod, &container_file, &pod_file], Output::id);
    let Some(container) = created else { return Ok(None) };
    crictl.check(script, &["start", &container], |output| same("the answer", output.text()?, container.as_str()));
    Ok(Some(Made { pod, container }))
}

fn look(crictl: &Crictl<'_>, script: &mut Script, made: &Made) {
    let Made { pod, container } = made;
    crictl.check(script, &["ps", "-o", "json"], |output| {
        let list = output.json()?;
        let found = find(&list["containers"], "id", container);
        same("state", text(found, "state"), "CONTAINER_RUNNING")?;
        same("pod", text(found, "podSandboxId"), pod.as_str())?;
        same("name", text(&found["metadata"], "name"), CONTAINER)
    });
    crictl.check(script, &["pods", "-o", "json"], |output| {
        let list = output.json()?;
        let found = find(&list["items"], "id", pod);
        same("state", text(found, "state"), "SANDBOX_READY")?;
        same("label", text(&found["labels"], "by"), "crictl")
    });
    crictl.check(script, &["inspect", container], |output| {
        let status = &output.json()?["status"];
        same("state", text(status, "state"), "CONTAINER_RUNNING")?;
        same("image", text(&status["image"], "userSpecifiedImage"), BUSYBOX)?;
        let log = crictl.subject.ground().join("logs/container.log");
        same("log path", text(status, "logPath"), log.display().to_string().as_str())
    });
    crictl.check(script, &["inspectp", pod], |output| {
        let status = &output.json()?["status"];
        same("name", text(&status["metadata"], "name"), POD)?;
        let address = text(&status["network"], "ip");
        address.parse::<std::net::IpAddr>().map(|_| ()).map_err(|e| format!("address {address:?}: {e}"))
    });
    crictl.check(script, &["exec", "-s", container, "echo", "said inside"], |output| output.printed(&["said inside"]));
    crictl.check(script, &["exec", "-s", container, "sh", "-c", "exit 9"], |output| output.refused(&["9"]));
    streams(crictl, script, made);
    crictl.check(script, &["logs", container], |output| same("the log", output.text()?, "ready to serve"));
    crictl.check(script, &["rm", container], |output| output.refused(&["is running"]));
}

/// What goes over the streaming server. `crictl attach` and `port-forward` end only when they are ended, so they are tried by
/// critest and the kubelet's suite.
fn streams(crictl: &Crictl<'_>, script: &mut Script, made: &Made) {
    let Made { container, .. } = made;
    crictl.check(script, &["exec", container, "sh", "-c", "echo out; echo err >&2"], |output| {
        output.printed(&["out"])?;
        holds("standard error", &output.stderr, &["err"])
    });
    crictl.check(script, &["exec", container, "sh", "-c", "exit 9"], |output| output.refused(&["exit code 9"]));
    crictl.check(script, &["exec", "-i", container, "cat"], |output| same("the answer", output.text()?, ""));
    crictl.check(script, &["exec", container, "seq", "200000"], |output| {
        same("the last line", output.text()?.lines().last(), Some("200000"))?;
        same("the lines", output.text()?.lines().count(), 200_000)
    });
    crictl.check(script, &["exec", container, "not-there"], |output| output.refused(&["not-there"]));
}

fn unmake(crictl: &Crictl<'_>, script: &mut Script, made: &Made) {
    let Made { pod, container } = made;
    let told = |id: &str| {
        let id = id.to_owned();
        move |output: &Output| output.printed(&[&id])
    };
    // Without a grace crictl asks for a kill at once.
    crictl.check(script, &["stop", "--timeout", "20", container], told(container));
    crictl.check(script, &["inspect", container], |output| {
        let status = &output.json()?["status"];
        same("state", text(status, "state"), "CONTAINER_EXITED")?;
        same("exit code", status["exitCode"].as_i64(), Some(0))
    });
    crictl.check(script, &["rm", container], told(container));
    crictl.check(script, &["ps", "-a", "-q"], |output| same("the list", output.text()?, ""));
    crictl.check(script, &["stopp", pod], told(pod));
    crictl.check(script, &["rmp", pod], told(pod));
    crictl.check(script, &["pods", "-q"], |output| same("the list", output.text()?, ""));
}

/// Each command on what isn't there. The CRI wants stop to succeed then; crictl asks for a status before it removes.
fn absent_objects(crictl: &Crictl<'_>, script: &mut Script) -> io::Result<()> {
    let (pod_file, container_file) = (crictl.pod_file()?, crictl.container_file()?);
    let refused = |output: &Output| output.refused(&["NotFound", NOBODY]);
    for arguments in [
        &["create", NOBODY, &container_file, &pod_file][..],
        &["start", NOBODY],
        &["inspect", NOBODY],
        &["inspectp", NOBODY],
        &["exec", "-s", NOBODY, "true"],
        &["exec", NOBODY, "true"],
        &["attach", NOBODY],
        &["port-forward", NOBODY, "8080"],
        &["logs", NOBODY],
        &["rm", NOBODY],
        &["rmp", NOBODY],
    ] {
        crictl.check(script, arguments, refused);
    }
    let handler = ["runp", "--runtime", "not-there", &pod_file];
    crictl.check(script, &handler, |output| output.refused(&["not-there"]));
    for arguments in [["ps", "-a", "-q", "--id", NOBODY], ["ps", "-a", "-q", "--pod", NOBODY]] {
        crictl.check(script, &arguments, |output| same("the list", output.text()?, ""));
    }
    crictl.check(script, &["pods", "-q", "--id", NOBODY], |output| same("the list", output.text()?, ""));
    for command in ["stop", "stopp"] {
        crictl.check(script, &[command, NOBODY], |output| output.printed(&[NOBODY]));
    }
    Ok(())
}

fn remove_image(crictl: &Crictl<'_>, script: &mut Script) {
    crictl.check(script, &["rmi", BUSYBOX], |output| output.printed(&["Deleted: ", BUSYBOX]));
    crictl.check(script, &["images", "-o", "json"], |output| {
        output.json()?;
        if output.stdout.contains(BUSYBOX) { Err("the image is still listed".to_owned()) } else { Ok(()) }
    });
    crictl.check(script, &["rmi", NO_IMAGE], |output| output.refused(&["no such image"]));
}

/// Returns the first object of a list in which `key` is `value`; null when there is none.
fn find<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    list.as_array().into_iter().flatten().find(|item| item[key] == value).unwrap_or(&Value::Null)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
