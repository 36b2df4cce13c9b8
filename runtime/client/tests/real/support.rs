//! A run folder, a cgroup root and a root file system of one test, taken away however it ends.

use orlop_cgroups::{CgroupPath, Hierarchies, Leaf, remove_tree};
use orlop_model::container::{ContainerSpec, LogPath, Process, Resources};
use orlop_model::container_state::{Checked, Ended};
use orlop_model::image::ImageConfig;
use orlop_model::ports::{Exec, ExecOutput, ExecOverrides, Launched, Runtime, RuntimeListener, Start};
use orlop_model::sandbox::{Dns, IdMapping, SandboxSpec};
use orlop_model::{ContainerId, Digest, Failure, ImageId, Namespace, NaturalKey, SandboxId};
use orlop_runtime_client::{Client, Config};
use orlop_sys::mount::map_ids;
use orlop_sys::users::Mapping;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

/// Programs of the host that containers of these tests run, copied with their libraries.
const PROGRAMS: [&str; 7] =
    ["/bin/sh", "/bin/sleep", "/bin/cat", "/usr/bin/id", "/usr/bin/head", "/bin/ls", "/bin/hostname"];

/// One test's ground.
pub struct World {
    users: Option<OwnedFd>,
    pub dir: tempfile::TempDir,
    pub client: Daemon,
    pub heard: Arc<Heard>,
    pub cgroup_root: String,
}

/// The adapter of a daemon that is there, or away.
pub struct Daemon(Option<Client>);

impl Deref for Daemon {
    type Target = Client;
    fn deref(&self) -> &Client {
        self.0.as_ref().expect("the daemon is away")
    }
}

/// What the listener heard.
#[derive(Default)]
pub struct Heard {
    pub ended: Mutex<Vec<(ContainerId, Ended)>>,
    pub gone: Mutex<Vec<SandboxId>>,
}

impl RuntimeListener for Heard {
    fn ended(&self, _: &SandboxId, container: &ContainerId, ended: Ended) {
        self.ended.lock().unwrap().push((container.clone(), ended));
    }
    fn shim_gone(&self, sandbox: &SandboxId) {
        self.gone.lock().unwrap().push(sandbox.clone());
    }
}

// === impl World ===

impl World {
    pub fn new(name: &str) -> Self {
        build_shim();
        let dir = tempfile::Builder::new().prefix("orlop-client-").tempdir().unwrap();
        let cgroup_root = format!("/orlop-client-{name}-{}", std::process::id());
        let (client, heard) = connect(dir.path(), &cgroup_root);
        make_rootfs(&dir.path().join("rootfs"));
        Self { dir, client, heard, cgroup_root, users: None }
    }

    /// Lets the daemon die.
    pub fn leave(&mut self) {
        self.client = Daemon(None);
    }

    /// Lets the daemon come back.
    pub fn restart(&mut self) {
        self.leave();
        let (client, heard) = connect(self.dir.path(), &self.cgroup_root);
        self.client = client;
        self.heard = heard;
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn rootfs(&self) -> OwnedFd {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(rustix::fs::CWD, self.dir.path().join("rootfs"), flags).unwrap();
        if let Some(users) = &self.users {
            map_ids(mount.as_fd(), users.as_fd()).unwrap();
        }
        mount
    }

    /// Lets every root file system from now on belong to users of a user namespace; fails where that can't be.
    pub fn map_rootfs(&mut self, ids: IdMapping) -> std::io::Result<()> {
        let mapping = Mapping { inside: ids.inside, outside: ids.node, count: ids.count };
        let users = orlop_sys::users::create(mapping)?;
        map_ids(self.rootfs().as_fd(), users.as_fd())?;
        self.users = Some(users);
        Ok(())
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("logs").join(name)).unwrap()
    }

    /// Puts a program of the host into the root file system, with its libraries.
    pub fn add_program(&self, program: &str) {
        copy_program(&self.dir.path().join("rootfs"), program);
    }

    pub async fn start(&self, pod: &Pod, container: &ContainerSpec, id: &ContainerId) -> Result<Launched, Failure> {
        self.client.start(self.starting(pod, container, id)).await
    }

    pub async fn check(&self, pod: &Pod, container: &ContainerSpec, id: &ContainerId) -> Result<Checked, Failure> {
        self.client.check(self.starting(pod, container, id)).await
    }

    pub fn starting<'a>(&self, pod: &'a Pod, container: &'a ContainerSpec, id: &'a ContainerId) -> Start<'a> {
        let rootfs = self.rootfs();
        let Pod { id: sandbox_id, spec: sandbox, image, resources } = pod;
        Start { sandbox_id, sandbox, id, container, resources, image, rootfs }
    }

    pub async fn exec(
        &self,
        pod: &Pod,
        container: &ContainerSpec,
        id: &ContainerId,
        command: &[&str],
        timeout: Option<Duration>,
    ) -> Result<ExecOutput, Failure> {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let checked = Checked::default();
        let exec = Exec {
            sandbox_id: &pod.id,
            sandbox: &pod.spec,
            id,
            container,
            resources: &pod.resources,
            image: &pod.image,
            checked: &checked,
            overrides: &ExecOverrides::default(),
            command: &command,
            timeout,
            output_bytes_max: 1 << 20,
        };
        self.client.exec(exec).await
    }

    /// A container that runs a shell script, its log in `logs/<name>.log`.
    pub fn container(&self, pod: &Pod, name: &str, script: &str) -> (ContainerSpec, ContainerId) {
        let mut spec = container(pod, &["/bin/sh", "-c", script]);
        spec.log =
            Some(LogPath { directory: self.dir.path().join("logs"), file: PathBuf::from(format!("{name}.log")) });
        (spec, ContainerId::parse(name).unwrap())
    }

    pub async fn wait_ended(&self, id: &ContainerId) -> Ended {
        let found = || self.heard.ended.lock().unwrap().iter().find(|(ended, _)| ended == id).map(|(_, e)| e.clone());
        wait_for(&format!("the end of {id}"), found).await
    }

    /// Ends in order and checks that nothing is left.
    pub async fn end(self) {
        assert!(self.client.end().await.unwrap(), "a sandbox is left");
        assert!(!cgroup_exists(&self.cgroup_root), "the cgroup root is left");
        let left: Vec<_> = std::fs::read_dir(self.run_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "sandboxes"), "files are left in the run folder: {left:?}");
    }

    pub fn sandbox_cgroup(&self, pod: &Pod) -> String {
        format!("{}/orlop-{}", self.cgroup_root, pod.id)
    }

    /// Returns a file of a cgroup of v1; `None` where its controller is not there.
    pub fn cgroup_file(&self, cgroup: &str, file: &str) -> Option<String> {
        let controller = file.split('.').next().unwrap();
        let hierarchies = Hierarchies::detect().unwrap();
        let found = hierarchies.v1.iter().find(|h| h.controllers.iter().any(|c| c == controller))?;
        let text = std::fs::read_to_string(found.mount.join(&cgroup[1..]).join(file)).unwrap();
        Some(text.trim().to_owned())
    }

    pub fn cgroup(&self, below: &str) -> bool {
        cgroup_exists(&format!("{}{below}", self.cgroup_root))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Spawner, shims and containers are all below it.
        let removed = remove_tree(&Hierarchies::detect().unwrap(), &CgroupPath::parse(&self.cgroup_root).unwrap());
        if let (Err(error), false) = (removed, std::thread::panicking()) {
            panic!("{error}");
        }
    }
}

fn connect(dir: &Path, cgroup_root: &str) -> (Daemon, Arc<Heard>) {
    let mut config = Config::new(dir.join("run"), shim_path(), cgroup_root);
    config.shim_log = Some(dir.join("shim.log"));
    let client = Client::new(config).unwrap();
    let heard = Arc::new(Heard::default());
    client.report_to(Arc::clone(&heard) as Arc<dyn RuntimeListener>);
    (Daemon(Some(client)), heard)
}

fn cgroup_exists(path: &str) -> bool {
    Leaf::open(&Hierarchies::detect().unwrap(), &CgroupPath::parse(path).unwrap()).unwrap().is_some()
}

// === the shim binary and the root file system ===

/// Where the binaries under test are, built already; `make test` says so.
const BINARIES: &str = "ORLOP_BIN_DIR";

fn shim_path() -> PathBuf {
    // <profile>/deps/<this test>
    let beside = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    std::env::var_os(BINARIES).map_or_else(beside, PathBuf::from).join("orlop-shim")
}

fn build_shim() {
    static BUILT: Once = Once::new();
    if std::env::var_os(BINARIES).is_some() {
        return;
    }
    BUILT.call_once(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "-p", "orlop-shim"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success(), "the shim does not build");
    });
}

fn make_rootfs(root: &Path) {
    for folder in ["etc", "tmp", "root"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/var/www:/bin/sh\n").unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nweb:x:33:\nlogs:x:44:web\n").unwrap();
    for program in PROGRAMS {
        copy_program(root, program);
    }
}

fn copy_program(root: &Path, program: &str) {
    copy(root, Path::new(program));
    for library in libraries(program) {
        copy(root, &library);
    }
}

/// Returns the libraries of a program, asked for once: ldd is a dozen processes.
fn libraries(program: &str) -> Vec<PathBuf> {
    static KNOWN: Mutex<BTreeMap<String, Vec<PathBuf>>> = Mutex::new(BTreeMap::new());
    let ask = || {
        let said = Command::new("ldd").arg(program).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        said.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
    };
    KNOWN.lock().unwrap().entry(program.to_owned()).or_insert_with(ask).clone()
}

fn copy(root: &Path, file: &Path) {
    let target = root.join(file.strip_prefix("/").unwrap());
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::copy(file, target).unwrap();
}

// === specs ===

/// A sandbox to be.
pub struct Pod {
    pub id: SandboxId,
    pub spec: SandboxSpec,
    pub image: ImageConfig,
    pub resources: Resources,
}

pub fn pod(name: &str) -> Pod {
    let dns = Dns { servers: vec!["10.9.8.7".into()], ..Dns::default() };
    let spec = SandboxSpec::new(Namespace("test".into()), NaturalKey(name.into()));
    let spec = SandboxSpec { hostname: name.to_owned(), dns: Some(dns), ..spec };
    // As long as real ones: the path of a shim's socket must not matter.
    let id = SandboxId::parse(&format!("{name:0<64}")).unwrap();
    Pod { id, spec, image: ImageConfig::default(), resources: Resources::default() }
}

pub fn container(pod: &Pod, command: &[&str]) -> ContainerSpec {
    let image = ImageId(Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap());
    let process = Process {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        env: vec![("PATH".into(), b"/usr/bin:/bin".to_vec())],
        ..Process::default()
    };
    let spec = ContainerSpec::new(Namespace("test".into()), NaturalKey("c".into()), pod.id.clone(), image);
    ContainerSpec { process, ..spec }
}

// === waiting ===

/// How long anything may take in a test, also where making a process takes milliseconds: in the machine of vm-test.
const WITHIN: Duration = Duration::from_secs(30);

/// Waits for a condition that nothing announces, with a deadline.
pub async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {WITHIN:?} for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
