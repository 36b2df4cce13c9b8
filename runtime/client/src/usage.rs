//! Reads what sandboxes and containers use, from their cgroups: no shim is asked, so that none is woken every ten seconds.

use crate::client::Client;
use crate::error::Result;
use orlop_cgroups::{Leaf, usage as read};
use orlop_model::usage::{MemoryUsage, Pressure, Stall, SwapUsage, Usage, UsageOf};
use std::sync::Arc;
use tracing::warn;

/// Reads all of them on one thread.
pub(crate) async fn usage(client: &Client, of: &[UsageOf<'_>]) -> Result<Vec<Option<Usage>>> {
    const TRIED: &str = "read what containers use";
    let path = |of: &UsageOf<'_>| {
        let sandbox = client.cgroups.of_sandbox(of.sandbox.cgroup_parent.as_deref(), of.sandbox_id)?;
        Ok((sandbox, of.container.cloned()))
    };
    let paths = of.iter().map(path).collect::<Result<Vec<_>>>()?;
    let cgroups = Arc::clone(&client.cgroups);
    let all = move || {
        let one = |(sandbox, container): (String, Option<_>)| {
            let leaf = match container {
                Some(id) => cgroups.container(&sandbox, &id)?,
                None => cgroups.sandbox(&sandbox)?,
            };
            let read = |leaf: Leaf| leaf.usage().map_err(|error| crate::cgroup::failed(TRIED, &error));
            leaf.map(read).transpose()
        };
        // One cgroup that can't be read must not hide all others.
        let said = |usage: Result<Option<read::Usage>>| {
            usage.unwrap_or_else(|error| {
                warn!(%error, "left out of a list");
                None
            })
        };
        Ok(paths.into_iter().map(|path| said(one(path)).map(|usage| of_cgroup(&usage))).collect())
    };
    client.threads.own(TRIED, all).await
}

fn of_cgroup(usage: &read::Usage) -> Usage {
    Usage {
        at: crate::start::now(),
        cpu_ns: usage.cpu_ns,
        memory: usage.memory.map(memory),
        swap: usage.swap.map(|swap| SwapUsage {
            usage_bytes: swap.usage,
            available_bytes: swap.limit.map(|limit| limit.saturating_sub(swap.usage)),
        }),
        tasks: usage.tasks,
        cpu_pressure: usage.cpu_pressure.map(pressure),
        memory_pressure: usage.memory_pressure.map(pressure),
        io_pressure: usage.io_pressure.map(pressure),
    }
}

fn memory(memory: read::Memory) -> MemoryUsage {
    // The kubelet's own definition: what the kernel would give back first does not count.
    let working_set_bytes = memory.usage.saturating_sub(memory.inactive_file);
    MemoryUsage {
        usage_bytes: memory.usage,
        working_set_bytes,
        rss_bytes: memory.anon,
        available_bytes: memory.limit.map(|limit| limit.saturating_sub(working_set_bytes)),
        page_faults: memory.faults,
        major_page_faults: memory.major_faults,
    }
}

fn pressure(pressure: read::Pressure) -> Pressure {
    let stall = |stall: read::Stall| Stall {
        avg10: stall.avg10,
        avg60: stall.avg60,
        avg300: stall.avg300,
        total_us: stall.total_us,
    };
    Pressure { some: stall(pressure.some), full: stall(pressure.full) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_what_the_working_set_leaves_of_the_limit() {
        let used = read::Memory { usage: 100, limit: Some(150), inactive_file: 30, ..read::Memory::default() };
        let shown = memory(used);
        assert_eq!((shown.working_set_bytes, shown.available_bytes), (70, Some(80)));
        assert_eq!(memory(read::Memory { limit: None, ..used }).available_bytes, None);
        // The two files are read one after the other.
        assert_eq!(memory(read::Memory { inactive_file: 200, ..used }).working_set_bytes, 0);
        assert_eq!(memory(read::Memory { limit: Some(50), ..used }).available_bytes, Some(0));
    }
}
