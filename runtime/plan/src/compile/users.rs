//! The user namespace of a spec: which ids it has, and whose the files of mounts seem to be.

use super::{CompileError, SANDBOX, TASK_PREFIX, invalid, unsupported};
use crate::mounts::Options;
use crate::oci::{IdMapping, Linux, Mount};
use orlop_wire::plan::{BindIds, IdMap};

/// Returns the ids of the user namespace that a spec joins; `None` when its users are the node's.
pub(super) fn of(linux: &Linux) -> Result<Option<IdMap>, CompileError> {
    let listed = linux.namespaces.iter().find(|namespace| namespace.kind == "user");
    let maps = [("linux.uidMappings", &linux.uid_mappings), ("linux.gidMappings", &linux.gid_mappings)];
    let Some(namespace) = listed else {
        return match maps.iter().find(|(_, maps)| !maps.is_empty()) {
            Some((field, _)) => Err(invalid(*field, "a mapping needs a user namespace")),
            None => Ok(None),
        };
    };
    let path = namespace.path.as_deref().unwrap_or_default();
    if path != SANDBOX && !path.starts_with(TASK_PREFIX) {
        return Err(unsupported("linux.namespaces", "a user namespace that is not the sandbox's is not built yet"));
    }
    let uids = single("linux.uidMappings", &linux.uid_mappings)?;
    if single("linux.gidMappings", &linux.gid_mappings)? != uids {
        return Err(unsupported("linux.gidMappings", "groups that are not mapped as users are are not built yet"));
    }
    if uids.to_node(0).is_none() {
        return Err(invalid("linux.uidMappings", "user 0 must be mapped: it makes the mounts"));
    }
    Ok(Some(uids))
}

/// Says whose the files of a bind mount seem to be.
pub(super) fn of_bind(mount: &Mount, options: &Options, users: Option<IdMap>) -> Result<BindIds, CompileError> {
    let field = |name: &str| format!("mounts[{}].{name}", mount.destination.chars().take(200).collect::<String>());
    if mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty() {
        let possible = options.mapped_if_possible && users.is_some();
        return Ok(if possible { BindIds::MappedIfPossible } else { BindIds::AsOnNode });
    }
    for (name, maps) in [("uidMappings", &mount.uid_mappings), ("gidMappings", &mount.gid_mappings)] {
        if Some(single(&field(name), maps)?) != users {
            return Err(unsupported(field(name), "a mapping other than the user namespace's is not built yet"));
        }
    }
    Ok(BindIds::Mapped)
}

fn single(field: &str, maps: &[IdMapping]) -> Result<IdMap, CompileError> {
    match maps {
        [IdMapping { inside, node, count }] => {
            let last = |first: u32| count.checked_sub(1).and_then(|more| first.checked_add(more));
            // The last number is nobody's.
            if last(*inside).is_some_and(|id| id < u32::MAX) && last(*node).is_some_and(|id| id < u32::MAX) {
                return Ok(IdMap { inside: *inside, node: *node, count: *count });
            }
            Err(invalid(field, format!("{count} ids from {inside} inside and {node} outside do not exist")))
        }
        _ => Err(unsupported(field, format!("{} mappings are given; exactly one is built", maps.len()))),
    }
}
