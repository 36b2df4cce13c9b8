//! A pod: from request to spec.

use super::{Refused, Result, apparmor, metadata, namespaces, network, path, seccomp, sysctl, user, users};
use crate::proto::{LinuxPodSandboxConfig, LinuxSandboxSecurityContext, RunPodSandboxRequest};
use orlop_model::Failure;
use orlop_model::sandbox::{Networks, SandboxEnd, SandboxSpec};

/// Names of runtime handlers that a pod may ask for; the empty one is the default. They are all the same runtime.
pub(crate) const HANDLERS: [&str; 2] = ["", "orlop"];

/// Checks a request and returns its spec.
pub(crate) fn spec(request: &RunPodSandboxRequest) -> Result<SandboxSpec, Failure> {
    translate(request).map_err(|refused| {
        let metadata = request.config.as_ref().and_then(|config| config.metadata.as_ref());
        let name = metadata.map(|m| format!(" {}", super::quoted(&format!("{}/{}", m.namespace, m.name))));
        Failure::from(refused).while_trying(format_args!("run sandbox{}", name.unwrap_or_default()))
    })
}

fn translate(request: &RunPodSandboxRequest) -> super::Result<SandboxSpec> {
    let config = request.config.as_ref().ok_or_else(|| Refused::invalid("config", "is missing"))?;
    let key = metadata::sandbox_key(config.metadata.as_ref())?;
    let metadata = config.metadata.as_ref().ok_or_else(|| Refused::invalid("metadata", "is missing"))?;
    handler(&request.runtime_handler)?;
    if config.windows.is_some() {
        return Err(Refused::invalid("windows", "this node runs Linux; leave it out"));
    }
    if !config.log_directory.is_empty() {
        path::absolute("log_directory", &config.log_directory)?;
    }
    let nothing = LinuxPodSandboxConfig::default();
    let linux = config.linux.as_ref().unwrap_or(&nothing);
    let nothing = LinuxSandboxSecurityContext::default();
    let security = linux.security_context.as_ref().unwrap_or(&nothing);
    check_security(security)?;
    let scopes = namespaces::of_sandbox(security.namespace_options.as_ref())?;
    Ok(SandboxSpec {
        namespace: crate::namespace(),
        key,
        hostname: network::hostname(&config.hostname, metadata, scopes.network)?,
        network: scopes.network,
        networks: Networks::Default,
        ipc: scopes.ipc,
        sysctls: sysctl::sysctls(&linux.sysctls, scopes.network, scopes.ipc)?,
        dns: network::dns(config.dns_config.as_ref())?,
        ports: network::ports(&config.port_mappings, scopes.network)?,
        cgroup_parent: cgroup_parent(&linux.cgroup_parent)?,
        network_args: network::plugin_args(metadata),
        ends: SandboxEnd::OnStop,
        domainname: String::new(),
        mac: None,
        shm_bytes_max: None,
        hosts: Vec::new(),
        user_namespace: users::of_sandbox(security.namespace_options.as_ref())?,
    })
}

fn handler(name: &str) -> super::Result<()> {
    if HANDLERS.contains(&name) {
        return Ok(());
    }
    let known = HANDLERS.map(|known| format!("{known:?}")).join(" and ");
    let problem = format!("{} is not known on this node; known are {known}", super::quoted(name));
    Err(Refused::invalid("runtime_handler", problem))
}

/// Checks what a pod says of its security. No process of ours runs in a pod but its containers', so most of it only has
/// to make sense.
fn check_security(security: &LinuxSandboxSecurityContext) -> super::Result<()> {
    user::ids("linux.security_context.run_as_user", security.run_as_user.as_ref())?;
    user::ids("linux.security_context.run_as_group", security.run_as_group.as_ref())?;
    if security.run_as_group.is_some() && security.run_as_user.is_none() {
        return Err(Refused::invalid("linux.security_context.run_as_group", user::GROUP_ALONE));
    }
    user::groups(&security.supplemental_groups)?;
    user::policy(security.supplemental_groups_policy)?;
    #[allow(deprecated, reason = "clients still send it")]
    seccomp::of(security.seccomp.as_ref(), &security.seccomp_profile_path, security.privileged)?;
    apparmor::check(security.apparmor.as_ref(), "")
}

/// Checks the cgroup that the kubelet made. The node says CGROUPFS in RuntimeConfig, so a systemd slice is a mistake.
fn cgroup_parent(text: &str) -> super::Result<Option<String>> {
    const FIELD: &str = "linux.cgroup_parent";
    if text.is_empty() {
        return Ok(None);
    }
    path::absolute(FIELD, text)?;
    if text.split('/').any(|part| part == ".") || text.chars().any(char::is_control) || text.contains("//") {
        return Err(Refused::invalid(FIELD, format!("{} is not a plain path", super::quoted(text))));
    }
    if text.ends_with(".slice") {
        let problem = format!(
            "{} is a systemd slice, but this node's cgroup driver is cgroupfs; set the kubelet's cgroupDriver to it",
            super::quoted(text)
        );
        return Err(Refused::invalid(FIELD, problem));
    }
    let trimmed = text.trim_end_matches('/');
    Ok(Some(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::proto::{
        Int64Value, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata, PortMapping, SecurityProfile,
        WindowsPodSandboxConfig,
    };
    use orlop_model::ErrorKind::{self, InvalidArgument, Unsupported};
    use orlop_model::sandbox::NamespaceScope;
    use proptest::prelude::*;
    use prost::Message;

    pub(crate) fn request(change: impl FnOnce(&mut PodSandboxConfig)) -> RunPodSandboxRequest {
        let mut config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: "web".into(),
                uid: "u1".into(),
                namespace: "default".into(),
                attempt: 1,
            }),
            hostname: "web".into(),
            log_directory: "/var/log/pods/default_web_u1".into(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: "/kubepods/burstable/podu1".into(),
                security_context: Some(LinuxSandboxSecurityContext::default()),
                ..Default::default()
            }),
            ..Default::default()
        };
        change(&mut config);
        RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() }
    }

    pub(crate) fn spec_of(change: impl FnOnce(&mut PodSandboxConfig)) -> SandboxSpec {
        spec(&request(change)).unwrap()
    }

    fn linux(config: &mut PodSandboxConfig) -> &mut LinuxPodSandboxConfig {
        config.linux.as_mut().unwrap()
    }

    fn security(config: &mut PodSandboxConfig) -> &mut LinuxSandboxSecurityContext {
        linux(config).security_context.as_mut().unwrap()
    }

    #[test]
    fn a_valid_request_keeps_every_field() {
        let spec = spec_of(|c| {
            linux(c).sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
            c.port_mappings = vec![PortMapping { container_port: 80, host_port: 8080, ..Default::default() }];
        });
        assert_eq!(spec.namespace, crate::namespace());
        assert_eq!(spec.key.0, "default/web/u1/1");
        assert_eq!(spec.hostname, "web");
        assert_eq!((spec.network, spec.ipc), (NamespaceScope::Sandbox, NamespaceScope::Sandbox));
        assert_eq!(spec.sysctls["net.ipv4.ip_forward"], "1");
        assert_eq!(spec.ports.len(), 1);
        assert_eq!(spec.cgroup_parent.as_deref(), Some("/kubepods/burstable/podu1"));
        assert_eq!(spec.network_args[2], ("K8S_POD_NAME".to_owned(), "web".to_owned()));
        assert_eq!(spec.ends, SandboxEnd::OnStop);
    }

    #[test]
    fn the_least_that_a_client_may_say_is_enough() {
        let spec = spec_of(|c| {
            *c = PodSandboxConfig { metadata: c.metadata.clone(), ..Default::default() };
        });
        assert_eq!(spec.cgroup_parent, None);
        assert_eq!(spec.hostname, "web");
        assert_eq!(spec.dns, None);
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut PodSandboxConfig), kind: ErrorKind, says: &[&str]) {
        let failure = spec(&request(change)).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        for part in says {
            assert!(failure.message.contains(part), "{:?} does not say {part:?}", failure.message);
        }
    }

    #[test]
    fn bad_requests_are_refused_with_the_field_and_the_reason() {
        check(|c| c.metadata = None, InvalidArgument, &["run sandbox", "metadata", "missing"]);
        check(|c| c.log_directory = "logs".into(), InvalidArgument, &["default/web", "log_directory", "absolute"]);
        check(|c| c.log_directory = "/var/../etc".into(), InvalidArgument, &["log_directory", ".."]);
        check(|c| c.windows = Some(WindowsPodSandboxConfig::default()), InvalidArgument, &["windows", "Linux"]);
        check(|c| linux(c).cgroup_parent = "kubepods".into(), InvalidArgument, &["cgroup_parent", "absolute"]);
        check(|c| linux(c).cgroup_parent = "/a/../b".into(), InvalidArgument, &["cgroup_parent", ".."]);
        check(|c| linux(c).cgroup_parent = "/a/./b".into(), InvalidArgument, &["cgroup_parent", "plain"]);
        check(|c| linux(c).cgroup_parent = "/k.slice".into(), InvalidArgument, &["cgroup_parent", "cgroupDriver"]);
        check(
            |c| security(c).run_as_group = Some(Int64Value { value: 5 }),
            InvalidArgument,
            &["run_as_group", "run_as_user"],
        );
        check(|c| security(c).supplemental_groups = vec![-1], InvalidArgument, &["supplemental_groups", "-1"]);
        check(
            |c| security(c).seccomp = Some(SecurityProfile { profile_type: 9, ..Default::default() }),
            InvalidArgument,
            &["seccomp"],
        );
        check(
            |c| {
                security(c).apparmor = Some(SecurityProfile { profile_type: 2, localhost_ref: "localhost/x".into() });
            },
            Unsupported,
            &["apparmor"],
        );
        check(
            |c| {
                linux(c).sysctls.insert("net.core.somaxconn".into(), "1".into());
                security(c).namespace_options =
                    Some(NamespaceOption { network: NamespaceMode::Node as i32, ..Default::default() });
            },
            InvalidArgument,
            &["sysctls", "node's network namespace"],
        );
        let failure = spec(&RunPodSandboxRequest::default()).unwrap_err();
        assert!(failure.message.contains("config: is missing"), "{failure}");
    }

    #[test]
    fn an_unknown_handler_is_refused_and_the_known_ones_named() {
        let mut asked = request(|_| ());
        asked.runtime_handler = "kata".into();
        let failure = spec(&asked).unwrap_err();
        assert_eq!(failure.kind, InvalidArgument);
        assert!(failure.message.contains(r#""kata" is not known on this node; known are "" and "orlop""#), "{failure}");
        asked.runtime_handler = "orlop".into();
        assert!(spec(&asked).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_that_are_a_request_get_an_answer(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..300,
        ) {
            let _ = RunPodSandboxRequest::decode(bytes.as_slice()).map(|request| spec(&request));
            let mut damaged = request(|_| ()).encode_to_vec();
            let at = at % damaged.len();
            damaged.splice(at..(at + bytes.len() / 4).min(damaged.len()), bytes);
            let _ = RunPodSandboxRequest::decode(damaged.as_slice()).map(|request| spec(&request));
        }

        #[test]
        fn any_names_are_kept_or_refused(
            name in ".{0,20}", uid in ".{0,20}", hostname in ".{0,70}", log_directory in "(/.{0,20})?",
        ) {
            let asked = request(|c| {
                let metadata = c.metadata.as_mut().unwrap();
                (metadata.name, metadata.uid) = (name.clone(), uid.clone());
                (c.hostname, c.log_directory) = (hostname.clone(), log_directory);
            });
            if let Ok(spec) = spec(&asked) {
                prop_assert_eq!(spec.key.0, format!("default/{name}/{uid}/1"));
                prop_assert!(hostname.is_empty() || spec.hostname == hostname);
            }
        }
    }
}
