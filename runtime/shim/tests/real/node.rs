//! A node for one test: a run folder, a cgroup, a spawner. Dropping it takes everything away and checks that it is gone.

use crate::client::{Client, WITHIN};
use orlop_cgroups::{CgroupPath, Hierarchies, Leaf, remove_tree};
use orlop_sys::process::send_signal;
use orlop_wire::frame::{Reply, Request, SHIM_SOCKET, SPAWNER_SOCKET, Scope, SetUp};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What the spawner and its shims wrote to standard error; shown when a test fails.
const SAID: &str = "said";

pub struct Node {
    folder: tempfile::TempDir,
    pub cgroup: String,
    spawner: Child,
    pub hierarchies: Hierarchies,
    shims: Vec<std::os::fd::OwnedFd>,
    /// While somebody is there, the spawner stays.
    keeps: Option<Client>,
}

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come true in {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Node {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::Builder::new().prefix("orlop-shim-test-").tempdir().unwrap();
        let run = folder.path().join("run");
        let said = std::fs::File::create(folder.path().join(SAID)).unwrap();
        let spawner = Command::new(env!("CARGO_BIN_EXE_orlop-shim"))
            .arg("--spawner")
            .arg("--run")
            .arg(&run)
            .args(["--grace-ms", "300"])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        let cgroup = format!("/orlop-shim-test-{}-{count}", std::process::id());
        let hierarchies = Hierarchies::detect().unwrap();
        let mut node = Self { folder, cgroup, spawner, hierarchies, shims: Vec::new(), keeps: None };
        let socket = node.spawner_socket();
        wait_until("the spawner listens", || {
            node.keeps = Client::connect(&socket).ok();
            node.keeps.is_some()
        });
        node
    }

    pub fn spawner_socket(&self) -> PathBuf {
        self.folder.path().join("run").join(SPAWNER_SOCKET)
    }

    pub fn spawner_pid(&self) -> u32 {
        self.spawner.id()
    }

    pub fn spawner(&self) -> Client {
        Client::connect(&self.spawner_socket()).unwrap()
    }

    pub fn dir(&self, sandbox: &str) -> PathBuf {
        self.folder.path().join("run/sandboxes").join(sandbox)
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn socket(&self, sandbox: &str) -> PathBuf {
        self.dir(sandbox).join(SHIM_SOCKET)
    }

    pub fn connect(&self, sandbox: &str) -> Client {
        Client::connect(&self.socket(sandbox)).unwrap()
    }

    /// Starts a shim and connects to it.
    pub fn spawn(&mut self, sandbox: &str) -> Client {
        let dir = self.dir(sandbox).to_str().unwrap().to_owned();
        let (reply, mut slots) = self.spawner().ask_with(&Request::Spawn { sandbox: sandbox.to_owned(), dir }, &[]);
        assert!(matches!(reply, Reply::Spawned { .. }), "{reply:?}");
        self.shims.push(slots.pop().unwrap());
        self.connect(sandbox)
    }

    pub fn set_up(&self) -> SetUp {
        SetUp {
            hostname: Some("a-pod".to_owned()),
            network: Scope::New,
            ipc: Scope::New,
            uts: Scope::New,
            sysctls: vec![("net/ipv4/ip_unprivileged_port_start".to_owned(), "80".to_owned())],
            cgroup: self.cgroup.clone(),
            users: None,
            shm_bytes: 1 << 20,
        }
    }

    /// Starts a shim and sets its sandbox up.
    pub fn sandbox(&mut self) -> Client {
        let mut client = self.spawn("pod");
        let set_up = self.set_up();
        client.done(&Request::SetUp(set_up));
        client
    }

    pub fn leaf(&self) -> Option<Leaf> {
        Leaf::open(&self.hierarchies, &CgroupPath::parse(&self.cgroup).unwrap()).unwrap()
    }

    /// Lists the processes of the sandbox.
    pub fn procs(&self) -> Vec<u32> {
        self.leaf().map(|leaf| leaf.procs().unwrap()).unwrap_or_default()
    }

    /// Waits for the spawner to end by itself.
    pub fn wait_for_spawner(&mut self) {
        self.keeps = None;
        let spawner = &mut self.spawner;
        wait_until("the spawner ends", || spawner.try_wait().unwrap().is_some());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for pidfd in &self.shims {
            let _ = send_signal(pidfd.as_fd(), 9);
        }
        // Orphans of the shims are the spawner's, which reaps them before it is killed.
        let cgroup = CgroupPath::parse(&self.cgroup).unwrap();
        let removed = remove_tree(&self.hierarchies, &cgroup);
        let _ = self.spawner.kill();
        let _ = self.spawner.wait();
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.folder.path().join(SAID)).unwrap_or_default();
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
        } else {
            removed.unwrap();
        }
    }
}
