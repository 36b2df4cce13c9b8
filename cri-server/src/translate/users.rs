//! User namespaces of pods, and mounts whose owners are mapped. KEP-127.

use super::{Refused, Result, known, quoted};
use crate::proto::{IdMapping as Asked, NamespaceMode, NamespaceOption, UserNamespace};
use orlop_model::sandbox::{IdMapping, SandboxSpec};

/// Whether pods can have users of their own here: by the kernel, and by the file system that images are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNamespaces {
    /// They can.
    Possible,
    /// They can't; the daemon has logged why.
    Impossible,
}

const FIELD: &str = "linux.security_context.namespace_options.userns_options";

/// Checks what a pod asks for; `None` is the node's users.
pub(crate) fn of_sandbox(options: Option<&NamespaceOption>) -> Result<Option<IdMapping>> {
    let Some((users, options)) = options.and_then(|options| Some((options.userns_options.as_ref()?, options))) else {
        return Ok(None);
    };
    let Some(mapping) = mapping(users)? else { return Ok(None) };
    for (name, mode) in [("network", options.network), ("pid", options.pid), ("ipc", options.ipc)] {
        if mode == NamespaceMode::Node as i32 {
            let problem = format!("mode POD is not possible with {name} NODE, where users of a pod have no rights");
            return Err(Refused::invalid(FIELD, format!("{problem}; ask for one of the two")));
        }
    }
    Ok(Some(mapping))
}

/// Checks that a container asks for what its pod has. Saying nothing is whatever the pod has.
pub(crate) fn fit(options: Option<&UserNamespace>, pod: &SandboxSpec) -> Result<()> {
    let Some(options) = options else { return Ok(()) };
    if mapping(options)? == pod.user_namespace {
        return Ok(());
    }
    Err(Refused::invalid(FIELD, "differs from the pod's; ask for the same in both"))
}

/// Checks the mapping of a mount, which must be the pod's.
pub(crate) fn of_mount(
    field: &str,
    uids: &[Asked],
    gids: &[Asked],
    pod: Option<IdMapping>,
) -> Result<Option<IdMapping>> {
    if uids.is_empty() && gids.is_empty() {
        return Ok(None);
    }
    let mapping = single(field, uids, gids)?;
    match pod {
        Some(pod) if pod == mapping => Ok(Some(mapping)),
        Some(_) => Err(Refused::unsupported(field, "mappings other than the pod's own are not built yet")),
        None => Err(Refused::invalid(field, "the pod has no user namespace")),
    }
}

/// Returns the mapping of mode POD; `None` for mode NODE.
fn mapping(options: &UserNamespace) -> Result<Option<IdMapping>> {
    match known::<NamespaceMode>(format!("{FIELD}.mode"), options.mode)? {
        NamespaceMode::Node if options.uids.is_empty() && options.gids.is_empty() => Ok(None),
        NamespaceMode::Node => Err(Refused::invalid(FIELD, "mode NODE takes no mappings")),
        NamespaceMode::Pod => {
            let mapping = single(FIELD, &options.uids, &options.gids)?;
            match mapping.to_node(0) {
                Some(_) => Ok(Some(mapping)),
                None => Err(Refused::invalid(FIELD, "user 0 must be mapped; let container_id be 0")),
            }
        }
        mode @ (NamespaceMode::Container | NamespaceMode::Target) => {
            let problem = format!("mode {} is not possible; use POD or NODE", quoted(mode.as_str_name()));
            Err(Refused::invalid(FIELD, problem))
        }
    }
}

/// Exactly one, of users and groups alike: what the kubelet sends, and what the interface has runtimes check.
fn single(field: &str, uids: &[Asked], gids: &[Asked]) -> Result<IdMapping> {
    let ([uid], [gid]) = (uids, gids) else {
        let problem =
            format!("{} mappings of users and {} of groups are given, must be one each", uids.len(), gids.len());
        return Err(Refused::invalid(field, problem));
    };
    if uid != gid {
        return Err(Refused::invalid(field, "users and groups must be mapped alike"));
    }
    let last = |first: u32| uid.length.checked_sub(1).and_then(|more| first.checked_add(more));
    // The last number is nobody's.
    if ![uid.container_id, uid.host_id].into_iter().all(|first| last(first).is_some_and(|id| id < u32::MAX)) {
        let problem =
            format!("{} ids from {} inside and {} outside do not exist", uid.length, uid.container_id, uid.host_id);
        return Err(Refused::invalid(field, problem));
    }
    Ok(IdMapping { inside: uid.container_id, node: uid.host_id, count: uid.length })
}

#[cfg(test)]
mod tests {
    use super::super::sandbox::tests::spec_of;
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::{InvalidArgument, Unsupported};

    const KUBELETS: Asked = Asked { container_id: 0, host_id: 65_536, length: 65_536 };
    const MAPPED: IdMapping = IdMapping { inside: 0, node: 65_536, count: 65_536 };

    fn users(mode: NamespaceMode, uids: &[Asked], gids: &[Asked]) -> UserNamespace {
        UserNamespace { mode: mode as i32, uids: uids.to_vec(), gids: gids.to_vec() }
    }

    fn asked(users: UserNamespace) -> NamespaceOption {
        NamespaceOption { userns_options: Some(users), ..Default::default() }
    }

    fn pod() -> UserNamespace {
        users(NamespaceMode::Pod, &[KUBELETS], &[KUBELETS])
    }

    #[test]
    fn a_pod_has_one_mapping_or_the_nodes_users() {
        assert_eq!(of_sandbox(None).unwrap(), None);
        assert_eq!(of_sandbox(Some(&NamespaceOption::default())).unwrap(), None);
        assert_eq!(of_sandbox(Some(&asked(users(NamespaceMode::Node, &[], &[])))).unwrap(), None);
        assert_eq!(of_sandbox(Some(&asked(pod()))).unwrap(), Some(MAPPED));
    }

    #[test]
    fn mappings_and_modes_that_mean_nothing_are_refused() {
        use NamespaceMode::{Container, Node, Pod, Target};
        let other = Asked { host_id: 7, ..KUBELETS };
        for (wrong, says) in [
            (users(Pod, &[], &[]), "one each"),
            (users(Pod, &[KUBELETS, other], &[KUBELETS, other]), "one each"),
            (users(Pod, &[KUBELETS], &[other]), "alike"),
            (
                users(Pod, &[Asked { container_id: 1, ..KUBELETS }; 1], &[Asked { container_id: 1, ..KUBELETS }]),
                "user 0",
            ),
            (users(Pod, &[Asked { length: 0, ..KUBELETS }], &[Asked { length: 0, ..KUBELETS }]), "do not exist"),
            (
                users(Pod, &[Asked { host_id: u32::MAX, ..KUBELETS }], &[Asked { host_id: u32::MAX, ..KUBELETS }]),
                "exist",
            ),
            (users(Node, &[KUBELETS], &[]), "takes no mappings"),
            (users(Container, &[], &[]), "CONTAINER"),
            (users(Target, &[], &[]), "TARGET"),
            (UserNamespace { mode: 7, ..Default::default() }, "7 is not a value"),
        ] {
            check_refused(of_sandbox(Some(&asked(wrong))), InvalidArgument, &["userns_options", says]);
        }
    }

    #[test]
    fn users_of_a_pod_need_namespaces_of_the_pod() {
        let node = NamespaceMode::Node as i32;
        for (options, says) in [
            (NamespaceOption { network: node, ..asked(pod()) }, "network NODE"),
            (NamespaceOption { pid: node, ..asked(pod()) }, "pid NODE"),
            (NamespaceOption { ipc: node, ..asked(pod()) }, "ipc NODE"),
        ] {
            check_refused(of_sandbox(Some(&options)), InvalidArgument, &["userns_options", says]);
        }
    }

    #[test]
    fn a_container_has_the_users_of_its_pod() {
        let plain = spec_of(|_| ());
        let with_users = SandboxSpec { user_namespace: Some(MAPPED), ..plain.clone() };
        let node = users(NamespaceMode::Node, &[], &[]);
        for spec in [&plain, &with_users] {
            fit(None, spec).unwrap();
        }
        fit(Some(&pod()), &with_users).unwrap();
        fit(Some(&node), &plain).unwrap();
        check_refused(fit(Some(&node), &with_users), InvalidArgument, &["differs"]);
        check_refused(fit(Some(&pod()), &plain), InvalidArgument, &["differs"]);
    }

    #[test]
    fn a_mount_is_mapped_as_its_pod_is() {
        let of = |uids: &[Asked], gids: &[Asked], pod| of_mount("mounts[0].uidMappings", uids, gids, pod);
        assert_eq!(of(&[], &[], Some(MAPPED)).unwrap(), None);
        assert_eq!(of(&[KUBELETS], &[KUBELETS], Some(MAPPED)).unwrap(), Some(MAPPED));
        check_refused(of(&[KUBELETS], &[KUBELETS], None), InvalidArgument, &["no user namespace"]);
        check_refused(of(&[KUBELETS], &[], Some(MAPPED)), InvalidArgument, &["one each"]);
        let other = [Asked { host_id: 7, ..KUBELETS }];
        check_refused(of(&other, &other, Some(MAPPED)), Unsupported, &["the pod's own"]);
    }
}
