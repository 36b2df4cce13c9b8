//! A pod as a test wants it: few words for the usual, all fields open for the rest.

use crate::client::{Client, Status, image, v1};
use crate::ground::Ground;
use crate::node::Node;
use crate::wait::wait_until;
use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest that a test program may run until it ends by itself.
pub const PROGRAM_LIMIT: Duration = Duration::from_secs(60);

/// A sandbox that runs, with a client to it.
#[derive(Debug)]
pub struct Pod {
    /// Its id.
    pub id: String,
    /// What it was run with; containers repeat it.
    pub config: v1::PodSandboxConfig,
    client: Client,
}

/// One line of a container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub time: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// `F`, or `P` for a part of a line.
    pub tag: String,
    /// The text.
    pub text: String,
}

/// Returns the config of a usual pod: own namespaces, logs on the node's ground.
#[must_use]
pub fn pod_config(node: &Node, name: &str) -> v1::PodSandboxConfig {
    pod_config_on(node.ground(), name)
}

/// The same for any CRI server on a ground.
#[must_use]
pub fn pod_config_on(ground: &Ground, name: &str) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            namespace: "tests".to_owned(),
            attempt: 0,
        }),
        hostname: name.to_owned(),
        log_directory: ground.join("logs").join(name).display().to_string(),
        labels: HashMap::from([("app".to_owned(), name.to_owned())]),
        linux: Some(v1::LinuxPodSandboxConfig {
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(own_namespaces()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn own_namespaces() -> v1::NamespaceOption {
    v1::NamespaceOption {
        network: v1::NamespaceMode::Pod.into(),
        pid: v1::NamespaceMode::Container.into(),
        ipc: v1::NamespaceMode::Pod.into(),
        ..Default::default()
    }
}

/// Returns the config of a usual container.
#[must_use]
pub fn container_config(name: &str, reference: &str, command: &[&str]) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(image(reference)),
        command: command.iter().map(ToString::to_string).collect(),
        log_path: format!("{name}.log"),
        linux: Some(v1::LinuxContainerConfig {
            security_context: Some(v1::LinuxContainerSecurityContext {
                namespace_options: Some(own_namespaces()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

impl Pod {
    /// Runs a usual pod.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    #[track_caller]
    pub fn run(node: &Node, name: &str) -> Self {
        Self::run_with(node, pod_config(node, name)).unwrap_or_else(|status| panic!("run pod {name}: {status}"))
    }

    /// Runs a pod.
    ///
    /// # Errors
    /// As the daemon answers.
    pub fn run_with(node: &Node, config: v1::PodSandboxConfig) -> Result<Self, Status> {
        Self::run_over(&node.client(), config)
    }

    /// The same over a client that others use too: for tests of many pods.
    ///
    /// # Errors
    /// As the daemon answers.
    pub fn run_over(client: &Client, config: v1::PodSandboxConfig) -> Result<Self, Status> {
        let client = client.clone();
        let request = v1::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        let id = client.run_pod_sandbox(request)?.pod_sandbox_id;
        Ok(Self { id, config, client })
    }

    /// Connects anew: after the daemon was killed the old connection is a broken one.
    pub fn reconnect(&mut self, node: &Node) {
        self.client = node.client();
    }

    /// Returns its client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns its status.
    ///
    /// # Panics
    /// When the daemon has none.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> v1::PodSandboxStatus {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: self.id.clone(), verbose: false };
        self.client.pod_sandbox_status(request).expect("the pod is there").status.expect("an answer holds a status")
    }

    /// Returns its address.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    #[track_caller]
    pub fn address(&self) -> IpAddr {
        let network = self.status().network.expect("a pod has a network");
        network.ip.parse().unwrap_or_else(|e| panic!("{:?} is not an address: {e}", network.ip))
    }

    /// Creates a container.
    ///
    /// # Errors
    /// As the daemon answers.
    pub fn create(&self, config: v1::ContainerConfig) -> Result<String, Status> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        Ok(self.client.create_container(request)?.container_id)
    }

    /// Starts a container.
    ///
    /// # Errors
    /// As the daemon answers.
    pub fn start(&self, id: &str) -> Result<(), Status> {
        self.client.start_container(v1::StartContainerRequest { container_id: id.to_owned() }).map(|_| ())
    }

    /// Creates and starts a usual container; returns its id.
    ///
    /// # Panics
    /// When either is refused.
    #[track_caller]
    pub fn launch(&self, name: &str, reference: &str, command: &[&str]) -> String {
        let created = self.create(container_config(name, reference, command));
        let id = created.unwrap_or_else(|status| panic!("create container {name}: {status}"));
        self.start(&id).unwrap_or_else(|status| panic!("start container {name}: {status}"));
        id
    }

    /// Stops a container.
    ///
    /// # Errors
    /// As the daemon answers.
    pub fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<(), Status> {
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout: grace_seconds };
        self.client.stop_container(request).map(|_| ())
    }

    /// Removes a container.
    ///
    /// # Errors
    /// As the daemon answers.
    pub fn remove_container(&self, id: &str) -> Result<(), Status> {
        self.client.remove_container(v1::RemoveContainerRequest { container_id: id.to_owned() }).map(|_| ())
    }

    /// Returns the status of a container.
    ///
    /// # Panics
    /// When the daemon has none.
    #[must_use]
    #[track_caller]
    pub fn container(&self, id: &str) -> v1::ContainerStatus {
        container_status(&self.client, id).expect("the container is there")
    }

    /// Waits until a container has ended by itself and returns its status.
    ///
    /// # Panics
    /// When it takes longer than test programs may.
    #[track_caller]
    pub fn ended(&self, id: &str) -> v1::ContainerStatus {
        wait_until(PROGRAM_LIMIT, "the container has exited", || {
            Some(self.container(id)).filter(|status| status.state() == v1::ContainerState::ContainerExited)
        })
    }

    /// Runs a program in a container; returns exit code, standard output and standard error.
    ///
    /// # Errors
    /// As the daemon answers.
    pub fn exec(&self, id: &str, command: &[&str]) -> Result<(i32, String, String), Status> {
        let request = v1::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.iter().map(ToString::to_string).collect(),
            timeout: 20,
        };
        let answer = self.client.exec_sync(request)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((answer.exit_code, text(answer.stdout), text(answer.stderr)))
    }

    /// Returns the path of a usual container's log.
    #[must_use]
    pub fn log_path(&self, name: &str) -> PathBuf {
        Path::new(&self.config.log_directory).join(format!("{name}.log"))
    }

    /// Returns the lines of a usual container's log.
    ///
    /// # Panics
    /// When it can't be read, or a line is not of the form that the kubelet reads.
    #[must_use]
    #[track_caller]
    pub fn log(&self, name: &str) -> Vec<LogLine> {
        let path = self.log_path(name);
        let log = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
        log.lines().map(|line| parse_line(line).unwrap_or_else(|| panic!("{line:?} is not a CRI log line"))).collect()
    }

    /// Stops it.
    ///
    /// # Errors
    /// As the daemon answers.
    pub fn stop(&self) -> Result<(), Status> {
        self.client.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: self.id.clone() }).map(|_| ())
    }

    /// Removes it.
    ///
    /// # Errors
    /// As the daemon answers.
    pub fn remove(&self) -> Result<(), Status> {
        self.client.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: self.id.clone() }).map(|_| ())
    }
}

/// Returns the status of a container.
///
/// # Errors
/// As the daemon answers.
///
/// # Panics
/// When the daemon answers with no status at all.
pub fn container_status(client: &Client, id: &str) -> Result<v1::ContainerStatus, Status> {
    let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
    Ok(client.container_status(request)?.status.expect("an answer holds a status"))
}

/// `2026-11-22T04:16:00.123456789Z stdout F text`; see the kubelet's log reader.
fn parse_line(line: &str) -> Option<LogLine> {
    let mut fields = line.splitn(4, ' ').map(str::to_owned);
    let (time, stream, tag) = (fields.next()?, fields.next()?, fields.next()?);
    let known = matches!(stream.as_str(), "stdout" | "stderr") && matches!(tag.as_str(), "F" | "P");
    let text = fields.next()?;
    known.then_some(LogLine { time, stream, tag, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_are_read_as_the_kubelet_reads_them() {
        let line = parse_line("2026-11-22T04:16:00.123456789Z stdout F a b  c").unwrap();
        assert_eq!((line.stream.as_str(), line.tag.as_str(), line.text.as_str()), ("stdout", "F", "a b  c"));
        assert_eq!(parse_line("2026-11-22T04:16:00.1Z stderr P ").unwrap().text, "");
        for bad in ["", "a b", "t stdin F x", "t stdout Q x"] {
            assert_eq!(parse_line(bad), None, "{bad}");
        }
    }
}
