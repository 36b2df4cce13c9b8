//! Whose namespaces a pod and its containers live in.

use super::{Refused, Result, known, users};
use crate::proto::{NamespaceMode as Asked, NamespaceOption};
use orlop_model::container::{NamespaceMode, Namespaces};
use orlop_model::sandbox::{NamespaceScope, SandboxSpec};

/// Network and IPC namespace of a pod. Nothing said means the pod's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scopes {
    /// Network.
    pub network: NamespaceScope,
    /// IPC.
    pub ipc: NamespaceScope,
}

/// The process id namespace of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pid {
    /// Known.
    Known(NamespaceMode),
    /// That of this container of the same pod, as the caller wrote its id.
    Target(String),
}

/// Checks what a pod asks for.
pub(crate) fn of_sandbox(options: Option<&NamespaceOption>) -> Result<Scopes> {
    let Some(options) = options else {
        return Ok(Scopes { network: NamespaceScope::Sandbox, ipc: NamespaceScope::Sandbox });
    };
    let pid: Asked = known(PID, options.pid)?;
    match pid {
        // Which of these is decided for each container; said here, it is what containers get that say nothing.
        Asked::Pod | Asked::Container | Asked::Node => {}
        Asked::Target => return Err(Refused::invalid(PID, "TARGET is for containers only")),
    }
    Ok(Scopes { network: scope(NETWORK, options.network)?, ipc: scope(IPC, options.ipc)? })
}

/// Checks what a container asks for, and puts it into its pod. `pod` is what the pod asked for.
pub(crate) fn of_container(
    options: Option<&NamespaceOption>,
    pod: Option<&NamespaceOption>,
    sandbox: &SandboxSpec,
    privileged: bool,
) -> Result<(Namespaces, Pid)> {
    if let Some(options) = options {
        users::fit(options.userns_options.as_ref(), sandbox)?;
        fits(NETWORK, options.network, sandbox.network)?;
        fits(IPC, options.ipc, sandbox.ipc)?;
    }
    let pid = match options.or(pod) {
        None => Pid::Known(NamespaceMode::OfSandbox),
        Some(options) => match known(PID, options.pid)? {
            Asked::Pod => Pid::Known(NamespaceMode::OfSandbox),
            Asked::Container => Pid::Known(NamespaceMode::New),
            Asked::Node => Pid::Known(NamespaceMode::Host),
            Asked::Target if options.target_id.is_empty() => {
                return Err(Refused::invalid("linux.security_context.namespace_options.target_id", "is empty"));
            }
            Asked::Target => Pid::Target(options.target_id.clone()),
        },
    };
    let network = of_scope(sandbox.network);
    let namespaces = Namespaces {
        pid: NamespaceMode::OfSandbox,
        ipc: of_scope(sandbox.ipc),
        // A pod on the node's network has the node's name.
        uts: network.clone(),
        network,
        // A privileged container manages cgroups of the node; others see only their own.
        cgroup: if privileged { NamespaceMode::Host } else { NamespaceMode::New },
    };
    Ok((namespaces, pid))
}

const NETWORK: &str = "linux.security_context.namespace_options.network";
const PID: &str = "linux.security_context.namespace_options.pid";
const IPC: &str = "linux.security_context.namespace_options.ipc";

fn scope(field: &str, number: i32) -> Result<NamespaceScope> {
    match known(field, number)? {
        Asked::Pod => Ok(NamespaceScope::Sandbox),
        Asked::Node => Ok(NamespaceScope::Host),
        Asked::Container => Err(Refused::invalid(field, "CONTAINER is not possible for a pod; use POD or NODE")),
        Asked::Target => Err(Refused::invalid(field, "TARGET is for process ids only; use POD or NODE")),
    }
}

/// Checks that a container does not ask for more of the node than its pod has. POD is whatever the pod has.
fn fits(field: &str, number: i32, pod: NamespaceScope) -> Result<()> {
    match (scope(field, number)?, pod) {
        (NamespaceScope::Sandbox, NamespaceScope::Sandbox | NamespaceScope::Host)
        | (NamespaceScope::Host, NamespaceScope::Host) => Ok(()),
        (NamespaceScope::Host, NamespaceScope::Sandbox) => {
            Err(Refused::invalid(field, "is NODE, but the pod was run with POD; ask for the same in both"))
        }
    }
}

fn of_scope(scope: NamespaceScope) -> NamespaceMode {
    match scope {
        NamespaceScope::Sandbox => NamespaceMode::OfSandbox,
        NamespaceScope::Host => NamespaceMode::Host,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sandbox::tests::spec_of;
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    const POD: i32 = Asked::Pod as i32;
    const CONTAINER: i32 = Asked::Container as i32;
    const NODE: i32 = Asked::Node as i32;
    const TARGET: i32 = Asked::Target as i32;

    fn options(network: i32, pid: i32, ipc: i32) -> NamespaceOption {
        NamespaceOption { network, pid, ipc, ..Default::default() }
    }

    #[test]
    fn a_pod_has_its_own_or_the_nodes() {
        use NamespaceScope::{Host, Sandbox};
        assert_eq!(of_sandbox(None).unwrap(), Scopes { network: Sandbox, ipc: Sandbox });
        for (asked, network, ipc) in [
            (options(POD, POD, POD), Sandbox, Sandbox),
            (options(NODE, NODE, POD), Host, Sandbox),
            (options(POD, CONTAINER, NODE), Sandbox, Host),
        ] {
            assert_eq!(of_sandbox(Some(&asked)).unwrap(), Scopes { network, ipc });
        }
    }

    #[test]
    fn modes_that_mean_nothing_are_refused() {
        for (asked, says) in [
            (options(CONTAINER, POD, POD), "network"),
            (options(TARGET, POD, POD), "network"),
            (options(POD, TARGET, POD), "pid"),
            (options(POD, POD, CONTAINER), "ipc"),
            (options(9, POD, POD), "9 is not a value"),
            (options(POD, -1, POD), "-1 is not a value"),
        ] {
            check_refused(of_sandbox(Some(&asked)), InvalidArgument, &[says]);
        }
    }

    #[test]
    fn a_container_lives_in_the_namespaces_of_its_pod() {
        let pod = spec_of(|_| ());
        let (namespaces, pid) = of_container(None, None, &pod, false).unwrap();
        assert_eq!(namespaces.network, NamespaceMode::OfSandbox);
        assert_eq!(namespaces.uts, NamespaceMode::OfSandbox);
        assert_eq!(namespaces.ipc, NamespaceMode::OfSandbox);
        assert_eq!(namespaces.cgroup, NamespaceMode::New);
        assert_eq!(pid, Pid::Known(NamespaceMode::OfSandbox));

        let host = SandboxSpec { network: NamespaceScope::Host, ipc: NamespaceScope::Host, ..pod };
        for asked in [None, Some(options(POD, POD, POD)), Some(options(NODE, NODE, NODE))] {
            let (namespaces, _) = of_container(asked.as_ref(), None, &host, true).unwrap();
            assert_eq!(namespaces.network, NamespaceMode::Host);
            assert_eq!(namespaces.uts, NamespaceMode::Host);
            assert_eq!(namespaces.ipc, NamespaceMode::Host);
            assert_eq!(namespaces.cgroup, NamespaceMode::Host);
        }
    }

    #[test]
    fn process_ids_are_as_the_container_says_or_else_its_pod() {
        let pod = spec_of(|_| ());
        for (container, sandbox, expected) in [
            (None, None, Pid::Known(NamespaceMode::OfSandbox)),
            (None, Some(options(POD, CONTAINER, POD)), Pid::Known(NamespaceMode::New)),
            (Some(options(POD, NODE, POD)), Some(options(POD, CONTAINER, POD)), Pid::Known(NamespaceMode::Host)),
            (Some(options(POD, POD, POD)), None, Pid::Known(NamespaceMode::OfSandbox)),
            (
                Some(NamespaceOption { target_id: "abc".into(), ..options(POD, TARGET, POD) }),
                None,
                Pid::Target("abc".into()),
            ),
        ] {
            let (_, pid) = of_container(container.as_ref(), sandbox.as_ref(), &pod, false).unwrap();
            assert_eq!(pid, expected);
        }
        let no_target = options(POD, TARGET, POD);
        check_refused(of_container(Some(&no_target), None, &pod, false), InvalidArgument, &["target_id"]);
    }

    #[test]
    fn a_container_can_not_have_more_of_the_node_than_its_pod() {
        let pod = spec_of(|_| ());
        for (asked, says) in [(options(NODE, POD, POD), "network"), (options(POD, POD, NODE), "ipc")] {
            check_refused(of_container(Some(&asked), None, &pod, false), InvalidArgument, &[says, "POD"]);
        }
    }
}
