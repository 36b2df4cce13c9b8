//! What a user namespace of the sandbox means for its containers.

use crate::{Inputs, SpecError};
use orlop_model::container::{NamespaceMode, Propagation};
use orlop_model::sandbox::{IdMapping, NamespaceScope};

/// Refuses what can't be in a user namespace, or would break out of it. Quiet where the users are the node's.
pub(crate) fn check(inputs: &Inputs<'_>) -> Result<(), SpecError> {
    let Some(users) = inputs.sandbox.user_namespace else {
        return match inputs.container.mounts.iter().find(|mount| mount.ids.is_some()) {
            Some(mount) => Err(SpecError::invalid(
                format!("mount {}", mount.target.display()),
                "its owners are mapped, but the sandbox has no user namespace",
            )),
            None => Ok(()),
        };
    };
    check_ids(inputs, users)?;
    check_namespaces(inputs)?;
    for mount in &inputs.container.mounts {
        let refuse = |why: &str| Err(SpecError::invalid(format!("mount {}", mount.target.display()), why));
        if mount.propagation == Propagation::Bidirectional {
            return refuse("what is mounted in a user namespace can't reach the node; ask for other propagation");
        }
        if mount.ids.is_some_and(|ids| ids != users) {
            return refuse("its owners are mapped in another way than the sandbox's users");
        }
    }
    Ok(())
}

fn check_ids(inputs: &Inputs<'_>, users: IdMapping) -> Result<(), SpecError> {
    let user = inputs.user;
    let ids = [("user", user.uid), ("group", user.gid)].into_iter();
    let mut ids = ids.chain(user.groups.iter().map(|gid| ("group", *gid)));
    match ids.find(|(_, id)| users.to_node(*id).is_none()) {
        Some((kind, id)) => {
            let IdMapping { inside, count, .. } = users;
            let why = format!("{id} is not in the sandbox's user namespace, which has {count} ids from {inside}");
            Err(SpecError::invalid(kind, why))
        }
        None => Ok(()),
    }
}

/// A namespace of the node's belongs to the node's users: in it, root of a user namespace has no rights.
fn check_namespaces(inputs: &Inputs<'_>) -> Result<(), SpecError> {
    let (sandbox, container) = (inputs.sandbox, &inputs.container.namespaces);
    let kinds = [
        ("network", &container.network, sandbox.network),
        ("IPC", &container.ipc, sandbox.ipc),
        ("PID", &container.pid, NamespaceScope::Sandbox),
        ("UTS", &container.uts, NamespaceScope::Sandbox),
    ];
    for (kind, mode, of_sandbox) in kinds {
        let foreign = match mode {
            NamespaceMode::New | NamespaceMode::OfContainer(_) => false,
            NamespaceMode::OfSandbox => of_sandbox == NamespaceScope::Host,
            NamespaceMode::Host | NamespaceMode::OfOther { .. } | NamespaceMode::Path(_) => true,
        };
        if foreign {
            let why = "the sandbox has a user namespace, so this one must be its own too";
            return Err(SpecError::invalid(format!("{kind} namespace"), why));
        }
    }
    Ok(())
}
