//! The life of a sandbox: raised, asked about, dropped, with its shim or without.

use crate::client::Client;
use crate::config::{ASK_WITHIN, GONE_WITHIN, RESOLV_CONF_BYTES_MAX, SET_UP_WITHIN, SHUT_DOWN_WITHIN};
use crate::error::{Error, Result};
use crate::etc;
use crate::folders::{SandboxFolder, ended, read_bounded};
use crate::peer::Answered;
use crate::shims::Shim;
use orlop_model::container_state::Ended;
use orlop_model::ports::{NetworkNamespace, Observed, ObservedTask};
use orlop_model::sandbox::{NamespaceScope, SandboxSpec};
use orlop_model::sandbox_state::Attachment;
use orlop_model::{ContainerId, SandboxId, Timestamp};
use orlop_wire::frame::{Reply, Request, Scope, SetUp, TaskState};
use orlop_wire::plan::IdMap;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// Makes folder, shim, cgroup, namespaces.
pub(crate) async fn raise(client: &Client, id: &SandboxId, spec: &SandboxSpec) -> Result<()> {
    etc::check(spec).map_err(Error::Invalid)?;
    let cgroup = client.cgroups.of_sandbox(spec.cgroup_parent.as_deref(), id)?;
    let set_up = set_up(spec, &cgroup)?;
    let cell = client.shims.cell(id);
    let mut held = cell.lock().await;
    make_folder(client, id, spec, cgroup).await?;
    let shim = match client.shims.find_in(&mut held, id).await? {
        Some(shim) => shim,
        None => {
            client.spawner.spawn(id, &client.folders.sandbox(id)).await?;
            let found = client.shims.find_in(&mut held, id).await?;
            found.ok_or_else(|| Error::NoShim { tried: "reach the shim that was just started".into() })?
        }
    };
    let tried = "set up the sandbox's namespaces and cgroup";
    let reply = shim.ask(tried, Request::SetUp(set_up), Vec::new(), SET_UP_WITHIN).await?.reply;
    if reply == Reply::Done { Ok(()) } else { Err(Error::Unexpected { tried: tried.into() }) }
}

/// Asks for descriptors of the network namespace.
pub(crate) async fn network_namespace(client: &Client, id: &SandboxId) -> Result<NetworkNamespace> {
    let tried = "ask for the sandbox's network namespace";
    let shim = client.shims.need(id, tried).await?;
    let answered = shim.ask(tried, Request::NetworkNamespace, Vec::new(), ASK_WITHIN).await?;
    let unexpected = || Error::Unexpected { tried: tried.into() };
    if answered.reply != Reply::NetworkNamespace {
        return Err(unexpected());
    }
    let [namespace, route_socket] = answered.slots.try_into().map_err(|_| unexpected())?;
    Ok(NetworkNamespace { namespace, route_socket })
}

/// Kills and removes everything; returns every end that was written down.
pub(crate) async fn drop(client: &Client, id: &SandboxId) -> Result<Vec<(ContainerId, Ended)>> {
    let cell = client.shims.cell(id);
    let mut held = cell.lock().await;
    let mut ends = BTreeMap::new();
    match client.shims.find_in(&mut held, id).await {
        Ok(Some(shim)) => ends.extend(shut_down(&shim, id).await?),
        Ok(None) => {}
        Err(error) => {
            warn!(sandbox = %id, %error, "the shim can't be reached; its sandbox is dropped without it");
            client.spawner.kill_shim(id, &client.folders.sandbox(id)).await?;
        }
    }
    *held = None;
    let (cgroups, folder) = (Arc::clone(&client.cgroups), client.folders.sandbox(id));
    let fallback = client.cgroups.of_sandbox(None, id)?;
    let sandbox = id.clone();
    let remove = move || {
        let leavings = folder.leavings().unwrap_or_else(|error| {
            warn!(%sandbox, %error, "its cgroup is taken to be where it is by default");
            None
        });
        cgroups.remove(&leavings.map_or(fallback, |leavings| leavings.cgroup))?;
        let written = folder.exits()?;
        folder.dropped()?;
        Ok(written)
    };
    ends.extend(client.threads.own("remove what is left of the sandbox", remove).await?);
    client.shims.forget(id);
    Ok(ends.into_iter().collect())
}

/// Says what is left of a sandbox.
pub(crate) async fn observe(client: &Client, id: &SandboxId) -> Result<Observed> {
    let tried = "ask the shim for its tasks";
    if let Some(shim) = client.shims.find(id).await? {
        match shim.ask(tried, Request::List, Vec::new(), ASK_WITHIN).await {
            Ok(answered) => {
                let Reply::Tasks(tasks) = answered.reply else {
                    return Err(Error::Unexpected { tried: tried.into() });
                };
                return Ok(Observed::Shim { tasks: frozen(client, id, parse(tasks, observed)).await? });
            }
            Err(Error::Gone { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let folder = client.folders.sandbox(id);
    let ended = client.threads.own("read the ends that the shim wrote down", move || folder.exits()).await?;
    Ok(Observed::NoShim { ended })
}

/// Lists every sandbox that has a folder, the first thing made and the last removed; or a cgroup, if somebody emptied the
/// run folder.
pub(crate) async fn leftovers(client: &Client) -> Result<Vec<SandboxId>> {
    let (folders, cgroups) = (client.folders.clone(), Arc::clone(&client.cgroups));
    let list = move || {
        let mut found = cgroups.sandboxes()?;
        found.extend(folders.sandboxes()?);
        Ok(found.into_iter().collect())
    };
    client.threads.own("list sandboxes", list).await
}

/// Returns the cgroup of a sandbox; `None` when it is dropped.
pub(crate) async fn cgroup(client: &Client, id: &SandboxId) -> Result<Option<String>> {
    let folder = client.folders.sandbox(id);
    let leavings = client.threads.own("find the sandbox's cgroup", move || folder.leavings()).await?;
    Ok(leavings.map(|leavings| leavings.cgroup))
}

// === raising ===

fn set_up(spec: &SandboxSpec, cgroup: &str) -> Result<SetUp> {
    let scope = |scope| match scope {
        NamespaceScope::Sandbox => Scope::New,
        NamespaceScope::Host => Scope::Host,
    };
    let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
    let mut sysctls = orlop_spec::sandbox_sysctl_defaults(spec, ipv6);
    sysctls.extend(orlop_spec::sandbox_sysctls(spec)?);
    if !spec.domainname.is_empty() {
        sysctls.push(("kernel/domainname".to_owned(), spec.domainname.clone()));
    }
    Ok(SetUp {
        hostname: (!spec.hostname.is_empty()).then(|| spec.hostname.clone()),
        network: scope(spec.network),
        ipc: scope(spec.ipc),
        // The node's name belongs with the node's network; any other has one of its own.
        uts: if spec.hostname.is_empty() { scope(spec.network) } else { Scope::New },
        sysctls,
        cgroup: cgroup.to_owned(),
        users: spec.user_namespace.map(|users| IdMap { inside: users.inside, node: users.node, count: users.count }),
        shm_bytes: spec.shm_bytes_max.unwrap_or(orlop_spec::SHM_BYTES_MAX),
    })
}

async fn make_folder(client: &Client, id: &SandboxId, spec: &SandboxSpec, cgroup: String) -> Result<()> {
    let (folder, config, spec) = (client.folders.sandbox(id), Arc::clone(&client.config), spec.clone());
    let make = move || {
        folder.make(&cgroup)?;
        write_etc(&folder, &spec, &config.resolv_conf)
    };
    client.threads.own("make the sandbox's folder", make).await
}

fn write_etc(folder: &SandboxFolder, spec: &SandboxSpec, node: &Path) -> Result<()> {
    let resolv_conf = match &spec.dns {
        Some(dns) => etc::resolv_conf(dns).into_bytes(),
        None => match read_bounded(node, RESOLV_CONF_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(format!("read {}", node.display()), error)),
        },
    };
    let hostname = hostname(spec);
    folder.write(etc::RESOLV_CONF, &resolv_conf)?;
    folder.write(etc::HOSTS, etc::hosts(&hostname, spec, &[]).as_bytes())?;
    folder.write(etc::HOSTNAME, format!("{hostname}\n").as_bytes())
}

fn hostname(spec: &SandboxSpec) -> String {
    match spec.hostname.as_str() {
        "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        hostname => hostname.to_owned(),
    }
}

/// Writes `/etc/hosts` anew, now that the sandbox has addresses; no container has the file yet.
pub(crate) async fn write_hosts(
    client: &Client,
    id: &SandboxId,
    spec: &SandboxSpec,
    attachments: &[Attachment],
) -> Result<()> {
    let folder = client.folders.sandbox(id);
    let text = etc::hosts(&hostname(spec), spec, attachments);
    client.threads.own("write the sandbox's hosts", move || folder.write(etc::HOSTS, text.as_bytes())).await
}

// === dropping ===

/// Lets a shim take everything down and end; one that does not obey is killed.
async fn shut_down(shim: &Shim, id: &SandboxId) -> Result<Vec<(ContainerId, Ended)>> {
    shim.dismiss();
    let tried = "let the shim shut down";
    let ends = match shim.ask(tried, Request::ShutDown, Vec::new(), SHUT_DOWN_WITHIN).await {
        Ok(Answered { reply: Reply::Down(ends), .. }) => Some(parse(ends, |record| ended(&record))),
        Ok(Answered { reply, .. }) => {
            warn!(sandbox = %id, ?reply, "the shim answers its shut-down with something else");
            None
        }
        Err(error) => {
            warn!(sandbox = %id, %error, "the shim does not shut down; its sandbox is dropped without it");
            None
        }
    };
    let patience = if ends.is_some() { GONE_WITHIN } else { Duration::ZERO };
    if shim.see_off(patience, GONE_WITHIN).await {
        return Ok(ends.unwrap_or_default());
    }
    Err(Error::Late { tried: "wait for the end of the shim".into(), bound: GONE_WITHIN })
}

fn observed(state: TaskState) -> ObservedTask {
    match state {
        TaskState::Running { pid, started_ns } => {
            ObservedTask::Running { pid, started: Timestamp(started_ns), frozen: false }
        }
        TaskState::Ended(record) => ObservedTask::Ended(ended(&record)),
    }
}

/// Looks which of the tasks that run are frozen: only their cgroups know.
async fn frozen(
    client: &Client,
    sandbox: &SandboxId,
    mut tasks: Vec<(ContainerId, ObservedTask)>,
) -> Result<Vec<(ContainerId, ObservedTask)>> {
    let Some(cgroup) = cgroup(client, sandbox).await? else { return Ok(tasks) };
    let cgroups = Arc::clone(&client.cgroups);
    let look = move || {
        for (id, task) in &mut tasks {
            let ObservedTask::Running { frozen, .. } = task else { continue };
            *frozen = cgroups.is_frozen(&cgroup, id).unwrap_or_else(|error| {
                warn!(container = %id, %error, "taken for not frozen");
                false
            });
        }
        Ok(tasks)
    };
    client.threads.own("look which containers are frozen", look).await
}

/// Turns a shim's list into the core's; what has no id of ours is passed over.
fn parse<T, U>(list: Vec<(String, T)>, each: impl Fn(T) -> U) -> Vec<(ContainerId, U)> {
    let known = |(id, value): (String, T)| match ContainerId::parse(&id) {
        Ok(id) => Some((id, each(value))),
        Err(error) => {
            warn!(id, %error, "the shim names a container that can't be one");
            None
        }
    };
    list.into_iter().filter_map(known).collect()
}
