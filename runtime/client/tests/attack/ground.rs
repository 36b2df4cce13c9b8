//! One sandbox that is up, a root file system to be spoiled, and a folder of the node that must stay as it is.

use crate::support::{Pod, World, pod};
use orlop_model::ContainerId;
use orlop_model::container::{ContainerSpec, Mount};
use orlop_model::container_state::{Ended, Exit};
use orlop_model::ports::{ExecOutput, Launched, Runtime};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

pub struct Ground {
    pub world: World,
    pub pod: Pod,
    used: Mutex<Vec<ContainerId>>,
}

/// A container that runs.
pub struct Running {
    pub spec: ContainerSpec,
    pub id: ContainerId,
    pub pid: u32,
}

// === impl Ground ===

impl Ground {
    pub async fn new(name: &str) -> Self {
        let ground = Self { world: World::new(name), pod: pod("web"), used: Mutex::default() };
        std::fs::create_dir(ground.canary()).unwrap();
        std::fs::write(ground.canary().join("file"), "of the node\n").unwrap();
        ground.world.client.raise(&ground.pod.id, &ground.pod.spec).await.unwrap();
        ground
    }

    /// A folder of the node that nothing of a container may reach.
    pub fn canary(&self) -> PathBuf {
        self.world.dir.path().join("canary")
    }

    #[track_caller]
    pub fn check_canary(&self) {
        let names: Vec<_> = std::fs::read_dir(self.canary()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"], "the folder of the node was changed");
        assert_eq!(std::fs::read_to_string(self.canary().join("file")).unwrap(), "of the node\n");
    }

    /// A path in the root file system, on the node.
    pub fn inside(&self, path: &str) -> PathBuf {
        self.world.dir.path().join("rootfs").join(path.trim_start_matches('/'))
    }

    /// Puts a link into the root file system, in the place of whatever is there.
    pub fn plant(&self, at: &str, to: impl AsRef<Path>) {
        let at = self.inside(at);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        match std::fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&at).unwrap(),
            Ok(_) => std::fs::remove_file(&at).unwrap(),
            Err(_) => {}
        }
        symlink(to, at).unwrap();
    }

    /// Ways in which a link can name a folder of the node: absolute, climbing, and pointing nowhere.
    pub fn ways_out(&self) -> [PathBuf; 3] {
        let up: PathBuf = std::iter::repeat_n("..", 40).collect();
        let below_root = self.canary().strip_prefix("/").unwrap().to_owned();
        [self.canary(), up.join(below_root), self.canary().join("not/there")]
    }

    /// A volume: a folder of the node at a place inside.
    pub fn volume(&self, name: &str, target: &str) -> Mount {
        let source = self.world.dir.path().join(name);
        std::fs::create_dir_all(&source).unwrap();
        Mount::new(target, source)
    }

    pub fn spec(&self, name: &str, script: &str) -> (ContainerSpec, ContainerId) {
        let (spec, id) = self.world.container(&self.pod, name, script);
        self.used.lock().unwrap().push(id.clone());
        (spec, id)
    }

    pub async fn launch(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut ContainerSpec),
    ) -> (ContainerSpec, ContainerId, Launched) {
        let (mut spec, id) = self.spec(name, script);
        change(&mut spec);
        let launched = self.world.start(&self.pod, &spec, &id).await.unwrap();
        (spec, id, launched)
    }

    pub async fn start(&self, name: &str, script: &str, change: impl FnOnce(&mut ContainerSpec)) -> Running {
        match self.launch(name, script, change).await {
            (spec, id, Launched::Running { pid, .. }) => Running { spec, id, pid },
            (_, _, Launched::Failed(ended)) => panic!("{name} did not start: {ended:?}"),
        }
    }

    /// Runs a script to its end; returns what it wrote to either stream, without stamps.
    pub async fn run(&self, name: &str, script: &str, change: impl FnOnce(&mut ContainerSpec)) -> String {
        self.run_to_end(name, script, change).await.1
    }

    pub async fn run_to_end(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut ContainerSpec),
    ) -> (Ended, String) {
        let running = self.start(name, script, change).await;
        let ended = self.world.wait_ended(&running.id).await;
        (ended, self.said(name))
    }

    /// What a container wrote so far.
    pub fn said(&self, name: &str) -> String {
        let log = self.world.log(&format!("{name}.log"));
        log.lines().map(|line| format!("{}\n", line.splitn(4, ' ').nth(3).unwrap_or(""))).collect()
    }

    /// Expects that a container can't be started; returns why.
    pub async fn refused(&self, name: &str, script: &str, change: impl FnOnce(&mut ContainerSpec)) -> String {
        let launched = self.launch(name, script, change).await.2;
        let Launched::Failed(Ended { exit: Exit::NeverStarted { message, .. }, .. }) = launched else {
            panic!("{name}: {launched:?}")
        };
        message
    }

    pub async fn exec(&self, running: &Running, script: &str) -> ExecOutput {
        let bound = Some(Duration::from_secs(20));
        let command = ["/bin/sh", "-c", script];
        self.world.exec(&self.pod, &running.spec, &running.id, &command, bound).await.unwrap()
    }

    pub async fn exec_said(&self, running: &Running, script: &str) -> String {
        let output = self.exec(running, script).await;
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Drops a container's task.
    pub async fn drop(&self, id: &ContainerId) {
        self.world.client.drop_task(&self.pod.id, id).await.unwrap();
    }

    /// The process of the sandbox's shim.
    pub fn shim(&self) -> u32 {
        let is_shim = |pid: &u32| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with("orlop-shim\0--dir") && line.contains(self.world.run_dir().to_str().unwrap())
        };
        let names =
            std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.parse().ok()).find(is_shim).expect("a shim")
    }

    /// The cgroup of the sandbox, below the root of every hierarchy.
    pub fn cgroup(&self) -> String {
        self.world.sandbox_cgroup(&self.pod)
    }

    /// Takes everything away and checks that the node is as it was.
    pub async fn end(self) {
        self.world.client.drop_sandbox(&self.pod.id).await.unwrap();
        let used = std::mem::take(&mut *self.used.lock().unwrap());
        for id in &used {
            self.drop(id).await;
        }
        self.check_canary();
        self.world.end().await;
    }
}
