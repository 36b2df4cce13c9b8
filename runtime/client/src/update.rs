//! Changes what a running container may use.
//!
//! Written from here, not by the shim: the kernel may work for long to get memory down to a new limit, and a shim that waits
//! for it would keep the whole pod waiting.

use crate::client::Client;
use crate::error::{Error, Result};
use orlop_model::container::Resources;
use orlop_model::ports::Update;
use orlop_plan::{compile, oci};
use std::sync::Arc;

/// Refuses limits that can't be written on this node, whatever runs.
pub(crate) fn check(client: &Client, limits: &Resources) -> Result<()> {
    let limits = orlop_spec::resources(limits);
    compile::change(&oci::Resources::default(), &limits, client.node.hierarchies())?;
    Ok(())
}

/// Writes the new limits, all of them or none.
pub(crate) async fn update(client: &Client, update: Update<'_>) -> Result<()> {
    let tried = format!("change the limits of container {}", update.id);
    let hierarchies = client.node.hierarchies();
    let (old, new) = (orlop_spec::resources(update.old), orlop_spec::resources(update.new));
    let writes = compile::change(&old, &new, hierarchies)?;
    let memory_bytes_max = u64::try_from(update.new.memory_bytes_max).ok().filter(|bytes| *bytes > 0);
    let sandbox = client.cgroups.of_sandbox(update.sandbox.cgroup_parent.as_deref(), update.sandbox_id)?;
    let (cgroups, id, what) = (Arc::clone(&client.cgroups), update.id.clone(), tried.clone());
    let write = move || {
        let missing = || Error::Stopped(format!("{what}: it has no cgroup, so it does not run"));
        let leaf = cgroups.container(&sandbox, &id)?.ok_or_else(missing)?;
        // v1 refuses a limit below what is in use; v2 takes it and kills for it.
        if let (true, Some(max)) = (cgroups.hierarchies().layout().is_v2(), memory_bytes_max) {
            fits(&what, &leaf, max)?;
        }
        leaf.write_all(&writes).map_err(|error| crate::cgroup::failed(&what, &error))
    };
    client.threads.own(&tried, write).await
}

/// Refuses a limit on memory that what can't be dropped at once is already above.
fn fits(tried: &str, leaf: &orlop_cgroups::Leaf, bytes_max: u64) -> Result<()> {
    let used = leaf.memory().map_err(|error| crate::cgroup::failed(tried, &error))?;
    let Some(used) = used else { return Ok(()) };
    let held = used.usage.saturating_sub(used.inactive_file).saturating_sub(used.active_file);
    if held > bytes_max {
        let message = format!("a limit of {bytes_max} bytes of memory is below the {held} it holds, page cache apart");
        return Err(Error::Refused { tried: tried.to_owned(), message, errno: rustix::io::Errno::BUSY.raw_os_error() });
    }
    Ok(())
}
