//! What a scenario plays on: a daemon with an image, and a pod with a host port and perhaps a container.

use orlop_testkit::client::{image, v1};
use orlop_testkit::guard::{Kind, Leak, Name, Snapshot};
use orlop_testkit::pod::{container_config, container_status, pod_config};
use orlop_testkit::{Client, Lab, Pod, Status};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A port of the node, inside the ground's own namespace, that leads into the pod.
const HOST_PORT: i32 = 18_080;
/// How long the daemon may take to do what comes after an answer.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);
/// How long after its last record a daemon may take to die.
pub const LAST_MOMENT: Duration = Duration::from_millis(250);
/// A program that goes on until it is told to end, and then ends well.
pub const WAITS: &[&str] = &["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 1 & wait $!; done"];

/// Processor shares that a container is updated to.
const UPDATE_SHARES: i64 = 300;

/// A daemon on its ground, and what the scenario at hand has made on it.
pub struct Stage {
    pub lab: Lab,
    /// What the ground looks like when nothing is left of a scenario.
    clean: Snapshot,
    /// Numbers pods, so that no two scenarios share a name.
    pub pods: u32,
    pub pod: Option<Pod>,
    pub container: Option<String>,
    /// How the daemon ended, when it has.
    ended: Option<ExitStatus>,
}

impl Stage {
    pub fn new() -> Self {
        let lab = Lab::with_docker();
        let clean = lab.guard.now();
        let mut stage = Self { lab, clean, pods: 0, pod: None, container: None, ended: None };
        stage.pull().unwrap();
        // Bridges, tables and folders come with the first pod and the first container, and stay.
        stage.begin();
        stage.run_pod().unwrap();
        stage.create_alone().unwrap();
        stage.start_alone().unwrap();
        stage.clear();
        // The kernel takes a link away some time after its namespace.
        let of_pod = |name: &Name| name.kind == Kind::Link && name.name.starts_with("veth");
        stage.clean = orlop_testkit::wait_until(SETTLE_LIMIT, "links of pods are gone", || {
            Some(stage.lab.guard.now()).filter(|now| !now.any(of_pod))
        });
        stage
    }

    /// Another name for the pod of the next scenario.
    pub fn begin(&mut self) {
        self.pods += 1;
        (self.pod, self.container) = (None, None);
    }

    /// Starts the daemon, in place of the one that runs, with failpoints or without.
    pub fn start_daemon(&mut self, failpoints: Option<&str>) {
        if self.ended.take().is_none() && self.ended().is_none() {
            self.lab.node.kill();
        }
        self.ended = None;
        self.lab.node.set_failpoints(failpoints);
        self.lab.node.start_again();
    }

    /// Returns how the daemon ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.lab.node.has_ended();
        }
        self.ended
    }

    /// Waits until the shim has let go of the container, which comes after the answer; or until the daemon died over it.
    pub fn settle(&mut self) {
        let record = format!("run/records/container-state/{}", self.container());
        let record = self.lab.node.ground().join(&record);
        orlop_testkit::wait_until(SETTLE_LIMIT, "the shim has let go of the task", || {
            let let_go = std::fs::read_to_string(&record).is_ok_and(|text| text.contains("\"task\":null"));
            (let_go || self.ended().is_some()).then_some(())
        });
        // The last moment comes just after that record.
        let _ = orlop_testkit::wait_for(LAST_MOMENT, || self.ended());
    }

    pub fn client(&self) -> Client {
        self.lab.node.client()
    }

    /// The config of this scenario's pod: always the same, since a retry must be.
    fn pod_config(&self) -> v1::PodSandboxConfig {
        let mut config = pod_config(&self.lab.node, &format!("pod{}", self.pods));
        config.port_mappings.push(v1::PortMapping { container_port: 80, host_port: HOST_PORT, ..Default::default() });
        config
    }

    pub fn run_pod(&mut self) -> Result<(), Status> {
        self.pod = Some(Pod::run_with(&self.lab.node, self.pod_config())?);
        Ok(())
    }

    /// The pod, through a connection to the daemon of this moment.
    pub fn pod(&mut self) -> &Pod {
        let pod = self.pod.as_mut().expect("the scenario has a pod");
        pod.reconnect(&self.lab.node);
        pod
    }

    pub fn create(&mut self) -> Result<(), Status> {
        let config = container_config("main", &self.lab.image(), WAITS);
        self.container = Some(self.pod().create(config)?);
        Ok(())
    }

    pub fn container(&self) -> String {
        self.container.clone().expect("the scenario has a container")
    }

    pub fn status(&self) -> Result<v1::ContainerStatus, Status> {
        container_status(&self.client(), &self.container())
    }

    pub fn start(&mut self) -> Result<(), Status> {
        let id = self.container();
        self.pod().start(&id)
    }

    /// Changes what the container may use.
    pub fn update(&mut self) -> Result<(), Status> {
        let linux = v1::LinuxContainerResources { cpu_shares: UPDATE_SHARES, ..Default::default() };
        let request = v1::UpdateContainerResourcesRequest {
            container_id: self.container(),
            linux: Some(linux),
            ..Default::default()
        };
        self.client().update_container_resources(request).map(drop)
    }

    /// Asserts that what the running container may use is what it was updated to, in its status and in its cgroup.
    pub fn is_updated(&mut self) {
        let status = self.status().unwrap();
        assert_eq!(status.resources.unwrap().linux.unwrap().cpu_shares, UPDATE_SHARES);
        let cgroup = &self.lab.node.ground().cgroup()[1..];
        let below = format!("{cgroup}/orlop-{}/{}/cpu.shares", self.pod.as_ref().unwrap().id, self.container());
        // On v2 the scale is another one; what is written there is the limits' own test.
        if let Ok(shares) = std::fs::read_to_string(std::path::Path::new("/sys/fs/cgroup/cpu").join(below)) {
            assert_eq!(shares.trim(), UPDATE_SHARES.to_string());
        }
    }

    /// A pod with a container that runs and has set its trap.
    pub fn run_all(&mut self) {
        self.run_pod().unwrap();
        self.create().unwrap();
        self.start().unwrap();
        let pod = self.pod.as_ref().unwrap();
        let limit = orlop_testkit::pod::PROGRAM_LIMIT;
        let ready =
            || std::fs::read_to_string(pod.log_path("main")).is_ok_and(|log| log.contains("ready")).then_some(());
        orlop_testkit::wait_until(limit, "the program is ready", ready);
    }

    pub fn pull(&self) -> Result<(), Status> {
        let request = v1::PullImageRequest { image: Some(image(&self.lab.image())), ..Default::default() };
        self.client().pull_image(request).map(drop)
    }

    pub fn remove_image(&self) -> Result<(), Status> {
        self.client().remove_image(v1::RemoveImageRequest { image: Some(image(&self.lab.image())) }).map(drop)
    }

    pub fn has_image(&self) -> bool {
        let request = v1::ImageStatusRequest { image: Some(image(&self.lab.image())), verbose: false };
        self.client().image_status(request).unwrap().image.is_some()
    }

    /// Takes away what the scenario made and looks whether anything is left. Image and daemon stay.
    pub fn clear(&mut self) {
        self.lab.node.drain().unwrap();
        self.clear_alone();
        if !self.has_image() {
            self.pull().unwrap();
        }
    }

    /// Returns what is left of a scenario that was cleared. Processes are compared once, in the end: the daemon of now is another one.
    pub fn leaks(&self) -> Vec<Leak> {
        let mut leaks = self.lab.guard.differences_but(&self.clean, &[Kind::Process, Kind::Zombie]);
        let folder = |name: &str| self.lab.node.ground().join(name);
        for folder in [folder("root/images/containers"), folder("run/sandboxes")] {
            let entries =
                std::fs::read_dir(&folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
            let name =
                |path: PathBuf| Name { kind: Kind::RunFile, place: String::new(), name: path.display().to_string() };
            leaks.extend(entries.iter().map(|entry| Leak::Left(name(entry.path()))));
        }
        leaks
    }
}
