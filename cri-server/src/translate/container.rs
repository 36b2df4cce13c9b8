//! A container: from request to spec.

use super::image::reference;
use super::mount::{RecursiveReadOnly, mounts};
use super::namespaces::{Pid, of_container};
use super::seccomp::Seccomp;
use super::{Refused, Result, apparmor, capability, device, metadata, path, process, resources, seccomp, signal, user};
use crate::proto::{ContainerConfig, LinuxContainerConfig, LinuxContainerSecurityContext, PodSandboxConfig};
use orlop_model::container::{
    ContainerSpec, LogPath, NamespaceMode, Resources, RootfsAccess, SeccompProfile, Security,
};
use orlop_model::record::SandboxAsked;
use orlop_model::{ContainerId, Failure, ImageId};
use std::path::PathBuf;

/// What a container's translation depends on beside its own config.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The sandbox it is to live in.
    pub sandbox: &'a SandboxAsked,
    /// What was asked of that sandbox. Not the copy that every request carries: this one is what the sandbox was made from.
    pub config: &'a PodSandboxConfig,
    /// What the kernel can do.
    pub recursive_read_only: RecursiveReadOnly,
}

/// A spec that lacks what only the node can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    spec: ContainerSpec,
    resources: Resources,
    /// What must be found out.
    pub needs: Needs,
}

/// What must be found out on the node before a draft is a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The image, by any of its names.
    pub image: String,
    /// The container whose process ids it shares, as the caller wrote its id.
    pub target: Option<String>,
    /// A seccomp profile to read.
    pub seccomp: Option<PathBuf>,
}

/// What was found out.
pub(crate) struct Found {
    /// The image.
    pub image: ImageId,
    /// See [`Needs::target`].
    pub target: Option<ContainerId>,
    /// See [`Needs::seccomp`]: its text.
    pub seccomp: Option<String>,
}

/// Stands in a draft where the image's id will be: its digest is that of nothing.
const NO_IMAGE: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Checks a config and returns all of a spec that follows from it alone.
pub(crate) fn draft(config: Option<&ContainerConfig>, around: Around<'_>) -> Result<Draft, Failure> {
    let named = config.and_then(|config| config.metadata.as_ref()).map(|metadata| metadata.name.as_str());
    config.ok_or_else(|| Refused::invalid("config", "is missing")).and_then(|config| translate(config, around)).map_err(
        |refused| {
            let name = super::quoted(named.unwrap_or_default());
            Failure::from(refused).while_trying(format_args!("create container {name}"))
        },
    )
}

fn translate(config: &ContainerConfig, around: Around<'_>) -> Result<Draft> {
    if config.windows.is_some() {
        return Err(Refused::invalid("windows", "this node runs Linux; leave it out"));
    }
    if !config.cdi_devices.is_empty() {
        return Err(Refused::unsupported("CDI_devices", "are not built yet; use devices"));
    }
    let nothing = LinuxContainerConfig::default();
    let linux = config.linux.as_ref().unwrap_or(&nothing);
    let nothing = LinuxContainerSecurityContext::default();
    let asked = linux.security_context.as_ref().unwrap_or(&nothing);
    check_privileged(asked, around.config)?;
    #[allow(deprecated, reason = "clients still send it")]
    let seccomp = seccomp::of(asked.seccomp.as_ref(), &asked.seccomp_profile_path, asked.privileged)?;
    #[allow(deprecated, reason = "clients still send it")]
    apparmor::check(asked.apparmor.as_ref(), &asked.apparmor_profile)?;
    let pod = around.config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    let pod = pod.and_then(|security| security.namespace_options.as_ref());
    let (mut namespaces, pid) =
        of_container(asked.namespace_options.as_ref(), pod, &around.sandbox.spec, asked.privileged)?;
    let target = match pid {
        Pid::Known(mode) => {
            namespaces.pid = mode;
            None
        }
        Pid::Target(id) => Some(id),
    };
    let (profile, file) = match seccomp {
        Seccomp::Unconfined => (SeccompProfile::Unconfined, None),
        Seccomp::RuntimeDefault => (SeccompProfile::RuntimeDefault, None),
        Seccomp::Localhost(file) => (SeccompProfile::RuntimeDefault, Some(file)),
    };
    let spec = ContainerSpec {
        namespace: around.sandbox.spec.namespace.clone(),
        key: metadata::container_key(&around.sandbox.id, config.metadata.as_ref())?,
        sandbox: around.sandbox.id.clone(),
        image: ImageId(orlop_model::Digest::parse(NO_IMAGE).expect("the constant is a digest")),
        process: process::process(config, user::user(asked)?)?,
        mounts: mounts(&config.mounts, around.recursive_read_only, around.sandbox.spec.user_namespace)?,
        tmpfs: Vec::new(),
        devices: device::devices(&config.devices)?,
        device_rules: Vec::new(),
        namespaces,
        rootfs: if asked.readonly_rootfs { RootfsAccess::ReadOnly } else { RootfsAccess::ReadWrite },
        security: security(linux.security_context.as_ref(), profile)?,
        log: log(&around.config.log_directory, &config.log_path)?,
        stop_signal: signal::number(config.stop_signal)?,
    };
    let image = reference("image", config.image.as_ref())?.to_owned();
    let needs = Needs { image, target, seccomp: file };
    Ok(Draft { spec, resources: resources::resources("linux.resources", linux.resources.as_ref())?, needs })
}

/// A pod must say beforehand that privileged containers will live in it; the interface says so.
fn check_privileged(asked: &LinuxContainerSecurityContext, pod: &PodSandboxConfig) -> Result<()> {
    let pod = pod.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    if asked.privileged && !pod.is_some_and(|security| security.privileged) {
        let problem = "the pod was not run with linux.security_context.privileged; ask for it there too";
        return Err(Refused::invalid("linux.security_context.privileged", problem));
    }
    Ok(())
}

/// Returns the confinement. A security context that is there says all: its empty lists hide nothing, which is how the
/// kubelet asks for an unmasked /proc (reference cri.md, 4.8). Only where nobody said anything the default lists are taken.
fn security(asked: Option<&LinuxContainerSecurityContext>, profile: SeccompProfile) -> Result<Security> {
    let hidden = |field: &str, paths: fn(&LinuxContainerSecurityContext) -> &Vec<String>| match asked {
        None => Ok(None),
        Some(asked) if asked.privileged => Ok(Some(Vec::new())),
        Some(asked) => process::hidden_paths(field, paths(asked)).map(Some),
    };
    let capabilities = capability::capabilities(asked.and_then(|asked| asked.capabilities.as_ref()))?;
    Ok(Security {
        privileged: asked.is_some_and(|asked| asked.privileged),
        capabilities_add: capabilities.add,
        capabilities_drop: capabilities.drop,
        capabilities_ambient: capabilities.ambient,
        no_new_privileges: asked.is_some_and(|asked| asked.no_new_privs),
        seccomp: profile,
        masked_paths: hidden("masked_paths", |asked| &asked.masked_paths)?,
        readonly_paths: hidden("readonly_paths", |asked| &asked.readonly_paths)?,
    })
}

/// Returns where the log goes; nowhere when either half is not given.
fn log(directory: &str, file: &str) -> Result<Option<LogPath>> {
    if directory.is_empty() || file.is_empty() {
        return Ok(None);
    }
    let directory = path::absolute("log_directory", directory)?;
    Ok(Some(LogPath { directory, file: path::relative("log_path", file)? }))
}

// === impl Draft ===

impl Draft {
    /// Fills in what was found out.
    pub(crate) fn finish(mut self, found: Found) -> (ContainerSpec, Resources) {
        self.spec.image = found.image;
        if let Some(target) = found.target {
            self.spec.namespaces.pid = NamespaceMode::OfContainer(target);
        }
        if let Some(text) = found.seccomp {
            self.spec.security.seccomp = SeccompProfile::Custom(text);
        }
        (self.spec, self.resources)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sandbox::tests::{request, spec_of};
    use super::*;
    use crate::proto::security_profile::ProfileType;
    use crate::proto::{
        Capability, CdiDevice, ContainerMetadata, Device, ImageSpec, Int64Value, KeyValue, LinuxContainerResources,
        LinuxSandboxSecurityContext, Mount, NamespaceMode as AskedMode, NamespaceOption, SecurityProfile, Signal,
        WindowsContainerConfig,
    };
    use orlop_model::ErrorKind::{self, InvalidArgument, Unsupported};
    use orlop_model::record::Durability;
    use orlop_model::{Digest, SandboxId, Timestamp};
    use proptest::prelude::*;
    use prost::Message;

    fn config() -> ContainerConfig {
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: "c".into(), attempt: 2 }),
            image: Some(ImageSpec { image: "busybox".into(), ..Default::default() }),
            log_path: "c/2.log".into(),
            linux: Some(LinuxContainerConfig {
                resources: Some(LinuxContainerResources::default()),
                security_context: Some(LinuxContainerSecurityContext::default()),
            }),
            ..Default::default()
        }
    }

    fn drafted(config: &ContainerConfig, pod: impl FnOnce(&mut LinuxSandboxSecurityContext)) -> Result<Draft, Failure> {
        let sandbox = SandboxAsked {
            id: SandboxId::parse("pod1").unwrap(),
            created_at: Timestamp(1),
            spec: spec_of(|_| ()),
            annex: Vec::new(),
            durability: Durability::Boot,
        };
        let mut asked = request(|_| ()).config.unwrap();
        pod(asked.linux.as_mut().unwrap().security_context.as_mut().unwrap());
        let recursive_read_only = RecursiveReadOnly::Possible;
        draft(Some(config), Around { sandbox: &sandbox, config: &asked, recursive_read_only })
    }

    fn finished(config: &ContainerConfig, pod: impl FnOnce(&mut LinuxSandboxSecurityContext)) -> ContainerSpec {
        let image = ImageId(Digest::parse(&format!("sha256:{}", "1".repeat(64))).unwrap());
        drafted(config, pod).unwrap().finish(Found { image, target: None, seccomp: None }).0
    }

    fn security(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
        config.linux.as_mut().unwrap().security_context.as_mut().unwrap()
    }

    #[test]
    fn a_valid_request_keeps_every_field() {
        let mut asked = config();
        asked.command = vec!["/bin/sh".into()];
        asked.args = vec!["-c".into()];
        asked.working_dir = "/w".into();
        asked.envs = vec![KeyValue { key: "A".into(), value: b"b".to_vec() }];
        asked.mounts = vec![Mount { container_path: "/d".into(), host_path: "/s".into(), ..Default::default() }];
        let device = Device { container_path: "/dev/a".into(), host_path: "/dev/a".into(), permissions: "rwm".into() };
        asked.devices = vec![device];
        (asked.stdin, asked.tty) = (true, true);
        asked.stop_signal = Signal::Sigusr1 as i32;
        let context = security(&mut asked);
        context.run_as_user = Some(Int64Value { value: 5 });
        context.run_as_group = Some(Int64Value { value: 6 });
        context.supplemental_groups = vec![7];
        (context.readonly_rootfs, context.no_new_privs) = (true, true);
        context.masked_paths = vec!["/proc/kcore".into()];
        context.capabilities = Some(Capability { add_capabilities: vec!["CAP_SYS_TIME".into()], ..Default::default() });
        context.seccomp = Some(SecurityProfile::default());

        let spec = finished(&asked, |_| ());
        assert_eq!(spec.key.0, "pod1/c/2");
        assert_eq!(spec.sandbox.as_str(), "pod1");
        assert_eq!(spec.image.to_string(), format!("sha256:{}", "1".repeat(64)));
        assert_eq!((spec.process.command, spec.process.args), (vec!["/bin/sh".into()], vec!["-c".into()]));
        assert_eq!(spec.process.env, [("A".to_owned(), b"b".to_vec())]);
        assert_eq!(spec.process.working_dir, "/w");
        assert_eq!((spec.process.user.user.as_str(), spec.process.user.group), ("5", Some(6)));
        assert_eq!(spec.process.user.supplemental_groups, [7]);
        assert!(spec.process.terminal);
        assert_eq!((spec.mounts.len(), spec.devices.len()), (1, 1));
        assert_eq!(spec.rootfs, RootfsAccess::ReadOnly);
        assert!(spec.security.no_new_privileges);
        assert_eq!(spec.security.capabilities_add, ["SYS_TIME"]);
        assert_eq!(spec.security.seccomp, SeccompProfile::RuntimeDefault);
        assert_eq!(spec.security.masked_paths, Some(vec!["/proc/kcore".to_owned()]));
        assert_eq!(spec.security.readonly_paths, Some(Vec::new()));
        assert_eq!(spec.stop_signal, Some(10));
        let log = spec.log.unwrap();
        assert_eq!(log.directory.join(log.file), PathBuf::from("/var/log/pods/default_web_u1/c/2.log"));
    }

    #[test]
    fn nothing_said_about_security_means_the_default_lists() {
        let mut asked = config();
        asked.linux = None;
        let spec = finished(&asked, |_| ());
        assert_eq!((spec.security.masked_paths, spec.security.readonly_paths), (None, None));
        assert_eq!(spec.security.seccomp, SeccompProfile::Unconfined);
    }

    #[test]
    fn a_privileged_container_needs_a_privileged_pod_and_is_not_confined() {
        let mut asked = config();
        let context = security(&mut asked);
        context.privileged = true;
        context.masked_paths = vec!["/proc/kcore".into()];
        context.seccomp = Some(SecurityProfile::default());
        let failure = drafted(&asked, |_| ()).unwrap_err();
        assert!(failure.message.contains("linux.security_context.privileged: the pod was not"), "{failure}");
        let spec = finished(&asked, |pod| pod.privileged = true);
        assert_eq!(spec.security.masked_paths, Some(Vec::new()));
        assert_eq!(spec.security.seccomp, SeccompProfile::Unconfined);
    }

    #[test]
    fn what_only_the_node_can_tell_is_asked_for_and_filled_in() {
        let mut asked = config();
        let context = security(&mut asked);
        context.seccomp =
            Some(SecurityProfile { profile_type: ProfileType::Localhost as i32, localhost_ref: "/p.json".into() });
        context.namespace_options =
            Some(NamespaceOption { pid: AskedMode::Target as i32, target_id: "other".into(), ..Default::default() });
        let draft = drafted(&asked, |_| ()).unwrap();
        let expected = Needs { image: "busybox".into(), target: Some("other".into()), seccomp: Some("/p.json".into()) };
        assert_eq!(draft.needs, expected);
        let other = ContainerId::parse("other").unwrap();
        let image = ImageId(Digest::parse(NO_IMAGE).unwrap());
        let found = Found { image, target: Some(other.clone()), seccomp: Some("{}".into()) };
        let (spec, _) = draft.finish(found);
        assert_eq!(spec.namespaces.pid, NamespaceMode::OfContainer(other));
        assert_eq!(spec.security.seccomp, SeccompProfile::Custom("{}".into()));
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut ContainerConfig), kind: ErrorKind, says: &[&str]) {
        let mut asked = config();
        change(&mut asked);
        let failure = drafted(&asked, |_| ()).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        for part in says {
            assert!(failure.message.contains(part), "{:?} does not say {part:?}", failure.message);
        }
    }

    #[test]
    fn bad_requests_are_refused_with_the_field_and_the_reason() {
        check(|c| c.metadata = None, InvalidArgument, &["create container", "metadata", "missing"]);
        check(|c| c.image = None, InvalidArgument, &["create container \"c\"", "image", "missing"]);
        check(|c| c.log_path = "../../etc/x".into(), InvalidArgument, &["log_path", ".."]);
        check(|c| c.log_path = "/etc/x".into(), InvalidArgument, &["log_path", "relative"]);
        check(|c| c.windows = Some(WindowsContainerConfig::default()), InvalidArgument, &["windows", "Linux"]);
        check(|c| c.cdi_devices = vec![CdiDevice::default()], Unsupported, &["CDI_devices"]);
        check(|c| c.stop_signal = 99, InvalidArgument, &["stop_signal", "99"]);
        check(|c| security(c).masked_paths = vec!["x".into()], InvalidArgument, &["masked_paths[0]"]);
        check(|c| security(c).readonly_paths = vec!["/..".into()], InvalidArgument, &["readonly_paths[0]"]);
        check(
            |c| c.linux.as_mut().unwrap().resources.as_mut().unwrap().oom_score_adj = 2000,
            InvalidArgument,
            &["oom_score_adj", "2000"],
        );
        #[allow(deprecated, reason = "clients still send it")]
        check(|c| security(c).apparmor_profile = "localhost/p".into(), Unsupported, &["apparmor_profile"]);
        #[allow(deprecated, reason = "clients still send it")]
        check(|c| security(c).seccomp_profile_path = "x".into(), InvalidArgument, &["seccomp_profile_path"]);
    }

    proptest! {
        #[test]
        fn any_bytes_that_are_a_config_get_an_answer(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200,
        ) {
            let _ = ContainerConfig::decode(bytes.as_slice()).map(|config| drafted(&config, |_| ()));
            let mut damaged = config().encode_to_vec();
            let at = at % damaged.len();
            damaged.splice(at..(at + bytes.len() / 4).min(damaged.len()), bytes);
            let _ = ContainerConfig::decode(damaged.as_slice()).map(|config| drafted(&config, |_| ()));
        }

        #[test]
        fn any_words_and_variables_are_kept_or_refused(
            command in proptest::collection::vec(".{0,10}", 0..4),
            key in ".{0,6}",
            value in proptest::collection::vec(any::<u8>(), 0..10),
            log_path in ".{0,12}",
        ) {
            let mut asked = config();
            asked.command = command.clone();
            asked.envs = vec![KeyValue { key: key.clone(), value: value.clone() }];
            asked.log_path = log_path.clone();
            if let Ok(draft) = drafted(&asked, |_| ()) {
                prop_assert_eq!(draft.spec.process.command, command);
                prop_assert_eq!(draft.spec.process.env, vec![(key, value)]);
                prop_assert_eq!(draft.spec.log.map(|log| log.file), (!log_path.is_empty()).then(|| log_path.into()));
            }
        }
    }
}
