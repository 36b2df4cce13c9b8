//! From what was asked to a plan: user, facts of the node, spec, plan, descriptors.

use crate::client::Client;
use crate::error::{Error, Result};
use crate::rootfs::UserFiles;
use crate::{etc, host, inside, other};
use orlop_model::container::{ContainerSpec, User};
use orlop_model::container_state::Checked;
use orlop_model::ports::{Exec, ExecOverrides, Start};
use orlop_model::sandbox::SandboxSpec;
use orlop_model::streams::TerminalSize;
use orlop_model::{ContainerId, SandboxId};
use orlop_plan::compile::{self, Compiled, Facts, SlotSource};
use orlop_plan::seccomp::Cache;
use orlop_spec::{HostFacts, Inputs, ResolvedUser, SandboxFiles, user};
use orlop_wire::frame::{Failed, Phase};
use orlop_wire::plan::Plan;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::borrow::Cow;
use std::os::fd::OwnedFd;
use tracing::warn;

/// Compiled seccomp profiles, by what they were compiled from.
pub(crate) type Profiles = Cache;

/// How carefully the node is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Mount sources too: nothing has been promised yet.
    Whole,
    /// Only what the spec needs; a mount source that went meanwhile is the shim's to report.
    Needed,
}

/// A container, ready to be started.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What was found out about it.
    pub(crate) checked: Checked,
    compiled: Compiled,
}

/// Plans the first process of a container.
pub(crate) async fn container(client: &Client, start: &Start<'_>, look: Look) -> Result<Prepared> {
    let user = resolve(client, start).await?;
    let host = look_at(client, start.container, look).await?;
    let (cgroup, files) = surroundings(client, start.sandbox_id, start.sandbox.cgroup_parent.as_deref())?;
    let inputs = Inputs {
        sandbox_id: start.sandbox_id,
        sandbox: start.sandbox,
        container_id: start.id,
        container: start.container,
        resources: start.resources,
        image: start.image,
        user: &user,
        host: &host,
        sandbox_cgroup: &cgroup,
        files: &files,
    };
    let stop_signal = orlop_spec::stop_signal(start.container, start.image)?;
    let spec = orlop_spec::container(&inputs)?;
    let compiled = compile::container(&spec, &facts(client, start.sandbox))?;
    warn_of(start.id, &compiled);
    let checked = Checked { uid: user.uid, gid: user.gid, groups: user.groups, stop_signal };
    Ok(Prepared { checked, compiled })
}

/// Plans a program in a running container.
pub(crate) async fn exec(
    client: &Client,
    exec: &Exec<'_>,
    terminal: Option<TerminalSize>,
) -> Result<(Plan, Vec<OwnedFd>)> {
    let (cgroup, files) = surroundings(client, exec.sandbox_id, exec.sandbox.cgroup_parent.as_deref())?;
    let container = overridden(exec.container, exec.overrides);
    let user = user_of(client, exec, &container).await?;
    let host = look_at(client, &container, Look::Needed).await?;
    let inputs = Inputs {
        sandbox_id: exec.sandbox_id,
        sandbox: exec.sandbox,
        container_id: exec.id,
        container: &container,
        resources: exec.resources,
        image: exec.image,
        user: &user,
        host: &host,
        sandbox_cgroup: &cgroup,
        files: &files,
    };
    let spec = orlop_spec::exec(&inputs, exec.command, terminal)?;
    let compiled = compile::exec(&spec, exec.id.as_str(), &facts(client, exec.sandbox))?;
    warn_of(exec.id, &compiled);
    let slots = open_slots(client, &compiled.slots, None).await?;
    Ok((compiled.plan, slots))
}

/// Returns the container as a program run in it is to find it.
fn overridden<'a>(container: &'a ContainerSpec, overrides: &ExecOverrides) -> Cow<'a, ContainerSpec> {
    if *overrides == ExecOverrides::default() {
        return Cow::Borrowed(container);
    }
    let mut own = container.clone();
    own.process.env.extend(overrides.env.iter().cloned());
    if !overrides.working_dir.is_empty() {
        own.process.working_dir.clone_from(&overrides.working_dir);
    }
    if overrides.privileged && !own.security.privileged {
        // All capabilities, and below the same filter: it is the container's, and a program inside may be any.
        own.security.capabilities_add = vec!["ALL".to_owned()];
        own.security.capabilities_drop.clear();
    }
    Cow::Owned(own)
}

/// Says what became of a program that could not be run: the exit status that a shell gives it, and why.
pub(crate) fn never_started(failed: &Failed) -> (u8, String) {
    let code = match (failed.phase, Errno::from_raw_os_error(failed.errno)) {
        (Phase::Exec, Errno::NOENT) => 127,
        (Phase::Exec, _) => 126,
        (Phase::Setup, _) => 128,
    };
    (code, format!("{}: {}", failed.what, std::io::Error::from_raw_os_error(failed.errno)))
}

impl Prepared {
    /// Opens what the plan needs: slot 0, slot 1 and so on.
    pub(crate) async fn into_slots(self, client: &Client, rootfs: OwnedFd) -> Result<(Plan, Vec<OwnedFd>)> {
        let slots = open_slots(client, &self.compiled.slots, Some(rootfs)).await?;
        Ok((self.compiled.plan, slots))
    }
}

// === users ===

async fn resolve(client: &Client, start: &Start<'_>) -> Result<ResolvedUser> {
    let root = start.rootfs.try_clone().map_err(|error| Error::io("keep the root file system open", error))?;
    let files = client.threads.foreign("look up the image's users", move || UserFiles::read(&root)).await?;
    Ok(user::resolve(&start.container.process.user, &start.image.user, files.as_spec())?)
}

/// Finds out who a program in a running container runs as.
async fn user_of(client: &Client, exec: &Exec<'_>, container: &ContainerSpec) -> Result<ResolvedUser> {
    let checked = exec.checked;
    let known = |home| ResolvedUser { uid: checked.uid, gid: checked.gid, groups: checked.groups.clone(), home };
    let said = container.process.env.iter().any(|(name, _)| name == "HOME")
        || exec.image.env.iter().any(|entry| entry.starts_with("HOME="));
    let asked = &container.process.user;
    if exec.overrides.user.is_empty() {
        if said {
            return Ok(known("/".to_owned()));
        }
        let wanted = User { user: checked.uid.to_string(), group: Some(checked.gid), ..User::default() };
        return Ok(known(look_up(client, exec, wanted).await?.home));
    }
    let wanted = User {
        user: exec.overrides.user.clone(),
        group: None,
        supplemental_groups: asked.supplemental_groups.clone(),
        supplemental_group_names: asked.supplemental_group_names.clone(),
        groups_policy: asked.groups_policy,
    };
    look_up(client, exec, wanted).await
}

/// Looks a user up in the container's own files, by way of its first process.
async fn look_up(client: &Client, exec: &Exec<'_>, wanted: User) -> Result<ResolvedUser> {
    let root = inside::root_of(client, exec.sandbox_id, exec.id).await?;
    let files = client.threads.foreign("look up the container's users", move || UserFiles::read(&root)).await?;
    Ok(user::resolve(&wanted, "", files.as_spec())?)
}

// === the node ===

async fn look_at(client: &Client, container: &ContainerSpec, look: Look) -> Result<HostFacts> {
    let sources = look == Look::Whole && !container.mounts.is_empty();
    if !sources && !host::makes_sources(container) && !host::has_devices(container) {
        return Ok(client.node.facts(Vec::new()));
    }
    let container = container.clone();
    let work = move || {
        host::make_sources(&container)?;
        if sources {
            host::check_sources(&container)?;
        }
        host::devices(&container)
    };
    Ok(client.node.facts(client.threads.foreign("look at mount sources and devices", work).await?))
}

fn surroundings(client: &Client, id: &SandboxId, parent: Option<&str>) -> Result<(String, SandboxFiles)> {
    let folder = client.folders.sandbox(id);
    let files = SandboxFiles {
        resolv_conf: Some(folder.file(etc::RESOLV_CONF)),
        hostname: Some(folder.file(etc::HOSTNAME)),
        hosts: Some(folder.file(etc::HOSTS)),
    };
    Ok((client.cgroups.of_sandbox(parent, id)?, files))
}

fn facts<'a>(client: &'a Client, sandbox: &SandboxSpec) -> Facts<'a> {
    // Root of a user namespace has every capability in it, and none outside.
    let inside = sandbox.user_namespace.map(|_| orlop_plan::capability::ALL);
    Facts {
        hierarchies: client.node.hierarchies(),
        device_programs: client.node.device_programs(),
        capabilities: inside.unwrap_or(client.node.capabilities()),
        limits: client.node.limits(),
        profiles: &client.profiles,
    }
}

fn warn_of(id: &ContainerId, compiled: &Compiled) {
    for warning in &compiled.warnings {
        warn!(container = %id, warning, "something asked for is passed over");
    }
}

// === descriptors ===

async fn open_slots(client: &Client, sources: &[SlotSource], rootfs: Option<OwnedFd>) -> Result<Vec<OwnedFd>> {
    let mut rootfs = rootfs;
    let mut slots = Vec::with_capacity(sources.len());
    for source in sources {
        slots.push(match source {
            SlotSource::Rootfs => rootfs.take().ok_or_else(|| Error::Invalid("the plan wants a second root".into()))?,
            SlotSource::Namespace { path, .. } => {
                let path = path.clone();
                client.threads.foreign("open a namespace", move || open_namespace(&path)).await?
            }
            SlotSource::OfOther { sandbox, container, .. } => other::first_process(client, sandbox, container).await?,
            SlotSource::ShmOfOther { sandbox } => other::shm(client, sandbox).await?,
        });
    }
    Ok(slots)
}

/// Opens a namespace's file. That it is one, of the right kind, is checked by setns(2), which is told the kind.
fn open_namespace(path: &std::path::Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| Error::io(format!("open namespace {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_that_can_not_run_has_the_status_that_a_shell_gives_it() {
        for (phase, errno, expected) in [
            (Phase::Exec, Errno::NOENT, 127),
            (Phase::Exec, Errno::ACCESS, 126),
            (Phase::Exec, Errno::NOEXEC, 126),
            (Phase::Setup, Errno::NOENT, 128),
        ] {
            let failed = Failed { what: "run \"/x\"".into(), errno: errno.raw_os_error(), phase };
            let (code, message) = never_started(&failed);
            assert_eq!(code, expected);
            assert!(message.starts_with("run \"/x\": "), "{message}");
        }
    }
}
