//! The simulator keeps every contract that the real adapters keep.
#![allow(clippy::unwrap_used, reason = "tests")]

use orlop_contract::images::ImagesGround;
use orlop_contract::network::NetworkGround;
use orlop_contract::objects;
use orlop_contract::records::RecordsGround;
use orlop_contract::runtime::streams::{Inner, SAID};
use orlop_contract::runtime::{Program, RuntimeGround};
use orlop_model::container::ContainerSpec;
use orlop_model::container_state::Ended;
use orlop_model::image::{Image, ImageConfig};
use orlop_model::ports::{Images, Network, NetworkNamespace, Records, Runtime, RuntimeListener};
use orlop_model::{ContainerId, Digest, ImageId, SandboxId};
use orlop_sim::{COPIES, NO_SUCH_PROGRAM, WAITS, World};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

/// A node in memory, and what its daemon heard.
struct Sim {
    world: World,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    ends: Mutex<Vec<(ContainerId, Ended)>>,
    gone: Mutex<Vec<SandboxId>>,
}

impl RuntimeListener for Heard {
    fn ended(&self, _: &SandboxId, container: &ContainerId, ended: Ended) {
        self.ends.lock().unwrap().push((container.clone(), ended));
    }
    fn shim_gone(&self, sandbox: &SandboxId) {
        self.gone.lock().unwrap().push(sandbox.clone());
    }
}

impl Sim {
    fn new(seed: &str) -> Self {
        Self::on(World::new(seed.len() as u64, 0, vec![image("one", 'a'), image("two", 'b')]))
    }

    fn on(world: World) -> Self {
        let heard = Arc::new(Heard::default());
        world.report_to(Arc::clone(&heard) as Arc<dyn RuntimeListener>);
        Self { world, heard }
    }

    fn restart(&mut self) {
        *self = Self::on(self.world.kill_daemon());
    }
}

fn image(name: &str, digit: char) -> Image {
    let digest = |digit: char| format!("sha256:{}", digit.to_string().repeat(64));
    Image {
        tags: vec![format!("registry.test/{name}:1")],
        digests: vec![format!("registry.test/{name}@{}", digest(digit.to_ascii_lowercase()))],
        config: ImageConfig { user: name.to_owned(), ..ImageConfig::default() },
        ..Image::new(ImageId(Digest::parse(&digest(digit)).unwrap()))
    }
}

fn any_fd() -> OwnedFd {
    File::open("/").unwrap().into()
}

impl RecordsGround for Sim {
    fn records(&self) -> &dyn Records {
        &self.world
    }
    fn restart(&mut self) {
        self.restart();
    }
}

impl ImagesGround for Sim {
    fn images(&self) -> &dyn Images {
        &self.world
    }
    fn references(&self) -> [String; 2] {
        ["one", "two"].map(|name| format!("registry.test/{name}:1"))
    }
    fn absent(&self) -> String {
        "registry.test/absent:1".to_owned()
    }
    fn restart(&mut self) {
        self.restart();
    }
}

impl NetworkGround for Sim {
    fn network(&self) -> &dyn Network {
        &self.world
    }
    fn namespace(&mut self, _: &SandboxId) -> NetworkNamespace {
        NetworkNamespace { namespace: any_fd(), route_socket: any_fd() }
    }
    fn drop_namespace(&mut self, _: &SandboxId) {}
    fn restart(&mut self) {
        self.restart();
    }
}

impl RuntimeGround for Sim {
    const FORKED: usize = 1;

    fn runtime(&self) -> &dyn Runtime {
        &self.world
    }
    fn ends(&self) -> Vec<(ContainerId, Ended)> {
        self.heard.ends.lock().unwrap().clone()
    }
    fn shims_gone(&self) -> Vec<SandboxId> {
        self.heard.gone.lock().unwrap().clone()
    }
    fn container(&self, sandbox: &SandboxId, name: &str, program: Program) -> ContainerSpec {
        self.world.set_short_lives(if program == Program::Ends { 1000 } else { 0 });
        let command = if program == Program::Missing { NO_SUCH_PROGRAM } else { "run" };
        objects::container(sandbox, name, &[command])
    }
    fn command(&self, inner: Inner) -> Vec<String> {
        let word = match inner {
            Inner::Says => SAID,
            Inner::Copies => COPIES,
            Inner::Waits => WAITS,
            Inner::Missing => NO_SUCH_PROGRAM,
        };
        vec![word.to_owned()]
    }
    fn rootfs(&self) -> OwnedFd {
        any_fd()
    }
    fn has_process(&self, _: u32) -> bool {
        // Programs run inside are none of the world's.
        false
    }
    fn processes(&self, sandbox: &SandboxId, container: &ContainerId) -> usize {
        usize::from(self.world.runs(sandbox, container))
    }
    fn kill_shim(&self, sandbox: &SandboxId) {
        self.world.kill_shim(sandbox);
    }
    fn restart(&mut self) {
        self.restart();
    }
}

macro_rules! sim {
    ($name:expr) => {
        crate::Sim::new($name)
    };
}

macro_rules! clock_of_sim {
    ($name:expr) => {
        std::sync::Arc::new(crate::Sim::new($name).world)
    };
}

mod records {
    orlop_contract::records!([tokio::test(start_paused = true)], sim);
}
mod images {
    orlop_contract::images!([tokio::test(start_paused = true)], sim);
}
mod network {
    orlop_contract::network!([tokio::test(start_paused = true)], sim);
}
mod runtime {
    orlop_contract::runtime!([tokio::test(start_paused = true)], sim);
}
mod clock {
    orlop_contract::clock!([tokio::test(start_paused = true)], clock_of_sim);
}
