//! The steps of the demo, in order.

use crate::teller::{Outcome, call, demand, tell};
use orlop_testkit::client::{image, v1};
use orlop_testkit::lab::Surroundings;
use orlop_testkit::pod::{container_config, pod_config};
use orlop_testkit::{Client, Node, wait_for};
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long the page and the log line may take to appear.
const APPEAR_LIMIT: Duration = Duration::from_secs(10);
/// Grace of the stop, seconds. The program obeys at once.
const GRACE_SECONDS: i64 = 10;
/// How many lines of the log are shown.
const LOG_LINES_SHOWN: usize = 5;

/// What goes through all steps.
struct Demo<'a> {
    node: &'a Node,
    client: Client,
    surroundings: &'a Surroundings,
    word: String,
}

/// Runs all steps.
pub fn run(node: &Node, surroundings: &Surroundings) -> Outcome {
    let demo = Demo { node, client: node.client(), surroundings, word: made_up_word()? };
    tell("the word", None, &demo.word);
    demo.about_the_node()?;
    demo.pull()?;
    let config = pod_config(node, "demo");
    let pod = demo.run_pod(&config)?;
    let address = demo.address(&pod)?;
    let container = demo.start_container(&pod, config)?;
    demo.read_log(&container)?;
    demo.exec(&container)?;
    demo.fetch_page(address)?;
    demo.remove_all(&pod, &container)
}

/// Eight letters that nobody could have prepared.
fn made_up_word() -> Outcome<String> {
    use std::io::Read;
    let mut bytes = [0; 8];
    let mut source = fs::File::open("/dev/urandom").map_err(|e| format!("open /dev/urandom: {e}"))?;
    source.read_exact(&mut bytes).map_err(|e| format!("read /dev/urandom: {e}"))?;
    Ok(bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect())
}

impl Demo<'_> {
    fn about_the_node(&self) -> Outcome {
        call(
            "Version",
            || self.client.version(v1::VersionRequest::default()),
            |version| {
                format!("{} {}, CRI {}", version.runtime_name, version.runtime_version, version.runtime_api_version)
            },
        )?;
        let status = call(
            "Status",
            || self.client.status(v1::StatusRequest::default()),
            |answer| {
                let conditions = answer.status.iter().flat_map(|status| &status.conditions);
                conditions.map(|c| format!("{}={}", c.r#type, c.status)).collect::<Vec<_>>().join(", ")
            },
        )?;
        let conditions = status.status.unwrap_or_default().conditions;
        demand(conditions.len() >= 2 && conditions.iter().all(|condition| condition.status), || {
            format!("the node is not ready: {conditions:?}")
        })
    }

    fn pull(&self) -> Outcome {
        let reference = &self.surroundings.reference;
        let request = v1::PullImageRequest { image: Some(image(reference)), ..Default::default() };
        let pulled = call(
            "PullImage",
            || self.client.pull_image(request),
            |answer| format!("{reference} is {}", short(&answer.image_ref)),
        )?;
        let request = v1::ImageStatusRequest { image: Some(image(reference)), verbose: false };
        let status = call(
            "ImageStatus",
            || self.client.image_status(request),
            |answer| {
                let size = answer.image.as_ref().map_or(0, |image| image.size);
                format!("{size} bytes")
            },
        )?;
        let id = status.image.unwrap_or_default().id;
        demand(id == pulled.image_ref, || format!("the pull returned {}, the status {id}", pulled.image_ref))
    }

    fn run_pod(&self, config: &v1::PodSandboxConfig) -> Outcome<String> {
        let request = v1::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        let answer =
            call("RunPodSandbox", || self.client.run_pod_sandbox(request), |answer| short(&answer.pod_sandbox_id))?;
        Ok(answer.pod_sandbox_id)
    }

    fn address(&self, pod: &str) -> Outcome<IpAddr> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: pod.to_owned(), verbose: false };
        let answer = call(
            "PodSandboxStatus",
            || self.client.pod_sandbox_status(request),
            |answer| {
                let status = answer.status.clone().unwrap_or_default();
                format!("{}, address {}", status.state().as_str_name(), status.network.unwrap_or_default().ip)
            },
        )?;
        let network = answer.status.unwrap_or_default().network.unwrap_or_default();
        network.ip.parse().map_err(|e| format!("the pod's address {:?}: {e}", network.ip))
    }

    fn start_container(&self, pod: &str, sandbox_config: v1::PodSandboxConfig) -> Outcome<String> {
        let script = "echo \"the log says $WORD\"; echo \"the page says $WORD\" > /tmp/index.html; \
                      trap 'exit 0' TERM; httpd -f -p 80 -h /tmp & wait $!";
        let command: &[&str] = if self.surroundings.own_image() { &["sh", "-c", script] } else { &[] };
        let mut config = container_config("web", &self.surroundings.reference, command);
        config.envs = vec![v1::KeyValue { key: "WORD".to_owned(), value: self.word.clone() }];
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let id =
            call("CreateContainer", || self.client.create_container(request), |answer| short(&answer.container_id))?;
        let id = id.container_id;
        let request = v1::StartContainerRequest { container_id: id.clone() };
        call("StartContainer", || self.client.start_container(request), |_| "started".to_owned())?;
        self.status(&id, v1::ContainerState::ContainerRunning)?;
        Ok(id)
    }

    fn status(&self, id: &str, expected: v1::ContainerState) -> Outcome<v1::ContainerStatus> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer = call(
            "ContainerStatus",
            || self.client.container_status(request),
            |answer| {
                let status = answer.status.clone().unwrap_or_default();
                let end = format!(", exit code {}, {}", status.exit_code, status.reason);
                let end = if status.finished_at > 0 { end } else { String::new() };
                format!("{}{end}", status.state().as_str_name())
            },
        )?;
        let status = answer.status.unwrap_or_default();
        demand(status.state() == expected, || format!("the container is {:?}", status.state()))?;
        Ok(status)
    }

    fn read_log(&self, container: &str) -> Outcome {
        // As the kubelet does it: the status says where, and the file is read.
        let status = self.status(container, v1::ContainerState::ContainerRunning)?;
        let begun = Instant::now();
        let expected =
            if self.surroundings.own_image() { format!("the log says {}", self.word) } else { String::new() };
        let log =
            wait_for(APPEAR_LIMIT, || fs::read_to_string(&status.log_path).ok().filter(|log| log.contains(&expected)));
        let log = log.ok_or_else(|| format!("{expected:?} did not appear in {}", status.log_path))?;
        tell("log", Some(begun.elapsed()), &status.log_path);
        for line in log.lines().take(LOG_LINES_SHOWN) {
            tell("", None, line);
        }
        Ok(())
    }

    fn exec(&self, container: &str) -> Outcome {
        let said = format!("exec says {}", self.word);
        let cmd = vec!["echo".to_owned(), said.clone()];
        let request = v1::ExecSyncRequest { container_id: container.to_owned(), cmd, timeout: 10 };
        let answer = call(
            "ExecSync",
            || self.client.exec_sync(request),
            |answer| format!("exit code {}: {}", answer.exit_code, String::from_utf8_lossy(&answer.stdout).trim()),
        )?;
        let stdout = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        demand(answer.exit_code == 0 && stdout == said, || format!("the exec printed {stdout:?}, not {said:?}"))
    }

    fn fetch_page(&self, address: IpAddr) -> Outcome {
        let begun = Instant::now();
        let ground = self.node.ground();
        if !self.surroundings.own_image() {
            // A given image does what it does; whether it serves a page is for the reader to judge.
            let answer = ground.http_get(address, 80, "/").map_or_else(|e| format!("no answer: {e}"), |(line, _)| line);
            tell("http, port 80", Some(begun.elapsed()), &answer);
            return Ok(());
        }
        let page = wait_for(APPEAR_LIMIT, || ground.http_get(address, 80, "/index.html").ok());
        let (line, body) = page.ok_or_else(|| format!("no page from http://{address}/"))?;
        tell(&format!("http://{address}/"), Some(begun.elapsed()), &format!("{line}: {}", body.trim()));
        let expected = format!("the page says {}", self.word);
        demand(line.contains("200") && body.trim() == expected, || format!("the page says {body:?}, not {expected:?}"))
    }

    fn remove_all(&self, pod: &str, container: &str) -> Outcome {
        let request = v1::StopContainerRequest { container_id: container.to_owned(), timeout: GRACE_SECONDS };
        call("StopContainer", || self.client.stop_container(request), |_| "stopped".to_owned())?;
        let end = self.status(container, v1::ContainerState::ContainerExited)?;
        demand(!self.surroundings.own_image() || end.exit_code == 0, || {
            format!("the program ended with {}", end.exit_code)
        })?;
        let request = v1::RemoveContainerRequest { container_id: container.to_owned() };
        call("RemoveContainer", || self.client.remove_container(request), |_| "removed".to_owned())?;
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: pod.to_owned() };
        call("StopPodSandbox", || self.client.stop_pod_sandbox(request), |_| "stopped".to_owned())?;
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: pod.to_owned() };
        call("RemovePodSandbox", || self.client.remove_pod_sandbox(request), |_| "removed".to_owned())?;
        let request = v1::RemoveImageRequest { image: Some(image(&self.surroundings.reference)) };
        call("RemoveImage", || self.client.remove_image(request), |_| "removed".to_owned())?;
        let containers = call(
            "ListContainers",
            || self.client.list_containers(Default::default()),
            |answer| format!("{} containers", answer.containers.len()),
        )?;
        let pods = call(
            "ListPodSandbox",
            || self.client.list_pod_sandbox(Default::default()),
            |answer| format!("{} pods", answer.items.len()),
        )?;
        let images = call(
            "ListImages",
            || self.client.list_images(Default::default()),
            |answer| format!("{} images", answer.images.len()),
        )?;
        let empty = containers.containers.is_empty() && pods.items.is_empty() && images.images.is_empty();
        demand(empty, || "something is still listed".to_owned())
    }
}

/// Enough of an id to recognise it.
fn short(id: &str) -> String {
    id.chars().take(id.find(':').map_or(12, |at| at + 13)).collect()
}
