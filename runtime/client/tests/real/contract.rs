//! The adapter keeps every contract of the runtime port, over the real spawner and shim.

use crate::support::World;
use crate::world;
use orlop_contract::objects;
use orlop_contract::runtime::streams::{Inner, SAID};
use orlop_contract::runtime::{CODE, Program, RuntimeGround};
use orlop_model::container::ContainerSpec;
use orlop_model::container_state::Ended;
use orlop_model::ports::Runtime;
use orlop_model::{ContainerId, SandboxId};
use std::fs;
use std::os::fd::OwnedFd;

impl RuntimeGround for World {
    /// The shell and what it forks.
    const FORKED: usize = 3;

    fn runtime(&self) -> &dyn Runtime {
        &*self.client
    }

    fn ends(&self) -> Vec<(ContainerId, Ended)> {
        self.heard.ended.lock().unwrap().clone()
    }

    fn shims_gone(&self) -> Vec<SandboxId> {
        self.heard.gone.lock().unwrap().clone()
    }

    fn container(&self, sandbox: &SandboxId, name: &str, program: Program) -> ContainerSpec {
        let ends = format!("exit {CODE}");
        let mut spec = match program {
            Program::Waits => shell(sandbox, name, "trap 'exit 0' TERM; while :; do sleep 0.02; done"),
            Program::Ends => shell(sandbox, name, &ends),
            Program::Forks => shell(sandbox, name, "sleep 100 & sleep 100 & wait"),
            Program::Copies => objects::container(sandbox, name, &["/bin/cat"]),
            Program::Missing => objects::container(sandbox, name, &["/bin/missing"]),
        };
        spec.process.env = vec![("PATH".into(), b"/usr/bin:/bin".to_vec())];
        spec
    }

    fn command(&self, inner: Inner) -> Vec<String> {
        match inner {
            Inner::Says => vec!["/bin/sh".to_owned(), "-c".to_owned(), format!("printf {SAID}")],
            Inner::Copies => vec!["/bin/cat".to_owned()],
            Inner::Waits => vec!["/bin/sleep".to_owned(), "1000".to_owned()],
            Inner::Missing => vec!["/bin/missing".to_owned()],
        }
    }

    fn rootfs(&self) -> OwnedFd {
        self.rootfs()
    }

    fn has_process(&self, pid: u32) -> bool {
        fs::exists(format!("/proc/{pid}")).unwrap()
    }

    /// By their cgroup, as the kernel shows it. Of this world: other tests name theirs alike at the same time.
    fn processes(&self, sandbox: &SandboxId, container: &ContainerId) -> usize {
        let cgroup = format!("{}/orlop-{sandbox}/{container}", self.cgroup_root);
        let folders = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        // A process that has ended meanwhile is none.
        let cgroups = folders.filter_map(|folder| fs::read_to_string(folder.join("cgroup")).ok());
        cgroups.filter(|text| text.lines().any(|line| line.ends_with(&cgroup))).count()
    }

    fn kill_shim(&self, sandbox: &SandboxId) {
        crate::sandbox::kill_shim(self, sandbox);
    }

    fn restart(&mut self) {
        self.restart();
    }
}

fn shell(sandbox: &SandboxId, name: &str, script: &str) -> ContainerSpec {
    objects::container(sandbox, name, &["/bin/sh", "-c", script])
}

orlop_contract::runtime!([tokio::test], world);
