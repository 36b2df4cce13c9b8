//! A sandbox, a container and a node to make specs from; tests change what they are about.

use orlop_model::container::{ContainerSpec, Resources};
use orlop_model::image::ImageConfig;
use orlop_model::sandbox::SandboxSpec;
use orlop_model::{ContainerId, Digest, ImageId, Namespace, NaturalKey, SandboxId};
use orlop_spec::inputs::{NodeDevice, NodeDeviceKind};
use orlop_spec::{HostFacts, Inputs, ResolvedUser, SandboxFiles};

/// Everything that a spec is made from.
pub struct World {
    pub sandbox_id: SandboxId,
    pub sandbox: SandboxSpec,
    pub container_id: ContainerId,
    pub container: ContainerSpec,
    pub resources: Resources,
    pub image: ImageConfig,
    pub user: ResolvedUser,
    pub host: HostFacts,
    pub files: SandboxFiles,
}

/// All capabilities but CAP_SYS_RESOURCE, bit 24, as where these tests were first run.
const CAPABILITIES: u64 = 0x1ff_feff_ffff;

impl World {
    pub fn new() -> Self {
        let sandbox_id = SandboxId::parse("one").unwrap();
        Self {
            sandbox: sandbox(),
            container_id: ContainerId::parse("two").unwrap(),
            container: container(&sandbox_id),
            resources: Resources {
                cpu_shares: 512,
                memory_bytes_max: 64 << 20,
                memory_swap_bytes_max: 64 << 20,
                oom_score_adj: Some(985),
                ..Resources::default()
            },
            image: ImageConfig {
                cmd: vec!["sh".into(), "-c".into(), "true".into()],
                env: vec!["PATH=/usr/bin:/bin".into()],
                working_dir: "/srv".into(),
                ..ImageConfig::default()
            },
            user: ResolvedUser { uid: 1000, gid: 1000, groups: vec![1000, 2000], home: "/home/me".into() },
            host: HostFacts {
                capabilities: CAPABILITIES,
                oom_score_adj: 0,
                recursive_readonly: true,
                devices: vec![
                    device("/dev/fuse", NodeDeviceKind::Char, 10, 229),
                    device("/dev/vda", NodeDeviceKind::Block, 254, 0),
                ],
            },
            files: SandboxFiles {
                resolv_conf: Some("/run/one/resolv.conf".into()),
                hostname: Some("/run/one/hostname".into()),
                hosts: Some("/run/one/hosts".into()),
            },
            sandbox_id,
        }
    }

    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            sandbox_id: &self.sandbox_id,
            sandbox: &self.sandbox,
            container_id: &self.container_id,
            container: &self.container,
            resources: &self.resources,
            image: &self.image,
            user: &self.user,
            host: &self.host,
            sandbox_cgroup: "/pods/one",
            files: &self.files,
        }
    }
}

fn device(path: &str, kind: NodeDeviceKind, major: u32, minor: u32) -> NodeDevice {
    NodeDevice { path: path.into(), kind, major, minor, mode: 0o660, uid: 0, gid: 6 }
}

fn sandbox() -> SandboxSpec {
    let spec = SandboxSpec::new(Namespace("cri".into()), NaturalKey("default/pod/uid/0".into()));
    SandboxSpec { hostname: "pod".into(), ..spec }
}

fn container(sandbox: &SandboxId) -> ContainerSpec {
    let image = ImageId(Digest::parse(&format!("sha256:{}", "0a".repeat(32))).unwrap());
    ContainerSpec::new(Namespace("cri".into()), NaturalKey("one/web/0".into()), sandbox.clone(), image)
}
