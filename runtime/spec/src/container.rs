//! The spec of a container, and of a program run in it.

use crate::{Inputs, SpecError, command, confine, environment, filesystems, users};
use orlop_model::container::{NamespaceMode, RootfsAccess};
use orlop_model::sandbox::{NamespaceScope, SandboxSpec};
use orlop_model::streams::TerminalSize;
use orlop_plan::compile::{INIT, SANDBOX, of_other, of_task};
use orlop_plan::oci::{
    Cpu, HugepageLimit, IdMapping, Linux, Memory, Namespace, Pids, Process, Resources, Rlimit, Root, Spec, User,
};
use orlop_plan::sysctl::NamespaceKind;
use orlop_plan::{capability, sysctl};

/// Version of the runtime-spec that our specs follow.
const OCI_VERSION: &str = "1.3.0";

/// Makes the spec of a container's first process.
pub fn container(inputs: &Inputs<'_>) -> Result<Spec, SpecError> {
    let process = &inputs.container.process;
    let terminal = process.terminal.then_some(process.terminal_size);
    spec(inputs, command::command(process, inputs.image)?, terminal)
}

/// Makes the spec of a program run in a running container, for [`orlop_plan::compile::exec`]: the container's own, with
/// another command, and a terminal of its own or none.
pub fn exec(inputs: &Inputs<'_>, command: &[String], terminal: Option<TerminalSize>) -> Result<Spec, SpecError> {
    command::check(command)?;
    spec(inputs, command.to_vec(), terminal)
}

/// Returns the sysctls that a sandbox with a network of its own starts from, as paths below `/proc/sys` and values; what was
/// asked for comes after them. `ipv6` says whether the node knows it.
#[must_use]
pub fn sandbox_sysctl_defaults(sandbox: &SandboxSpec, ipv6: bool) -> Vec<(String, String)> {
    // Whoever isn't root may listen on any port and ping: there is nobody else in this namespace to protect from that.
    let groups = match sandbox.user_namespace {
        None => "0 2147483647".to_owned(),
        // Only those that there are.
        Some(users) => format!("{} {}", users.inside, u64::from(users.inside) + u64::from(users.count) - 1),
    };
    let any_network = [("net/ipv4/ip_unprivileged_port_start", "0"), ("net/ipv4/ping_group_range", groups.as_str())];
    // A neighbour's router advertisements must not redirect a pod's traffic (CVE-2020-10749).
    const IPV6_NETWORK: [(&str, &str); 2] =
        [("net/ipv6/conf/all/accept_ra", "0"), ("net/ipv6/conf/default/accept_ra", "0")];
    let chosen = match sandbox.network {
        NamespaceScope::Host => &[][..],
        NamespaceScope::Sandbox => &any_network,
    };
    let more = if ipv6 && !chosen.is_empty() { &IPV6_NETWORK[..] } else { &[] };
    chosen.iter().chain(more).map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect()
}

/// Returns the sysctls of a sandbox as paths below `/proc/sys` and values; refuses those that would change the node.
pub fn sandbox_sysctls(sandbox: &SandboxSpec) -> Result<Vec<(String, String)>, SpecError> {
    let mut found = Vec::with_capacity(sandbox.sysctls.len());
    for (name, value) in &sandbox.sysctls {
        let sysctl = sysctl::resolve(name, value)
            .map_err(|bad| SpecError::invalid(format!("sysctl {name}"), bad.to_string()))?;
        let whose = match sysctl.namespace {
            NamespaceKind::Network => sandbox.network,
            NamespaceKind::Ipc => sandbox.ipc,
            NamespaceKind::Uts => uts(sandbox),
            // Sysctls belong to none of these.
            NamespaceKind::Mount | NamespaceKind::Pid | NamespaceKind::Cgroup | NamespaceKind::User => {
                NamespaceScope::Host
            }
        };
        match whose {
            NamespaceScope::Sandbox => found.push((sysctl.path, value.clone())),
            NamespaceScope::Host => {
                let why = "it would change the node: the sandbox uses the node's namespace";
                return Err(SpecError::invalid(format!("sysctl {name}"), why));
            }
        }
    }
    Ok(found)
}

fn spec(inputs: &Inputs<'_>, args: Vec<String>, terminal: Option<TerminalSize>) -> Result<Spec, SpecError> {
    let Inputs { container, sandbox, .. } = inputs;
    users::check(inputs)?;
    let mapping =
        sandbox.user_namespace.map(|users| IdMapping { inside: users.inside, node: users.node, count: users.count });
    let capabilities = confine::capabilities(inputs);
    let devices = confine::devices(inputs)?;
    let seccomp = confine::filter(&container.security, &capabilities)?;
    let of_own_uts = |name: &String| match container.namespaces.uts {
        NamespaceMode::New => Some(name.clone()).filter(|name| !name.is_empty()),
        NamespaceMode::Host
        | NamespaceMode::OfSandbox
        | NamespaceMode::OfContainer(_)
        | NamespaceMode::OfOther { .. }
        | NamespaceMode::Path(_) => None,
    };
    let mut process = process(inputs, args, terminal)?;
    process.capabilities = Some(capabilities);
    let linux = Linux {
        resources: Some(Resources { devices: devices.rules, ..resources(inputs.resources) }),
        cgroups_path: Some(format!("{}/{}", inputs.sandbox_cgroup.trim_end_matches('/'), inputs.container_id)),
        namespaces: namespaces(inputs)?,
        // Where nobody can make nodes they are mounts.
        devices: if mapping.is_some() { Vec::new() } else { devices.nodes },
        uid_mappings: mapping.into_iter().collect(),
        gid_mappings: mapping.into_iter().collect(),
        seccomp,
        rootfs_propagation: Some("rslave".to_owned()),
        masked_paths: confine::masked(&container.security),
        readonly_paths: confine::readonly(&container.security),
        ..Linux::default()
    };
    Ok(Spec {
        oci_version: OCI_VERSION.to_owned(),
        process: Some(process),
        root: Some(Root {
            // Handed over as a mount, at no path of the node.
            path: "rootfs".to_owned(),
            readonly: container.rootfs == RootfsAccess::ReadOnly,
        }),
        hostname: of_own_uts(&sandbox.hostname),
        domainname: of_own_uts(&sandbox.domainname),
        mounts: filesystems::mounts(inputs)?,
        annotations: container.process.init.then(|| (INIT.to_owned(), "true".to_owned())).into_iter().collect(),
        linux: Some(linux),
        ..Spec::default()
    })
}

fn process(inputs: &Inputs<'_>, args: Vec<String>, terminal: Option<TerminalSize>) -> Result<Process, SpecError> {
    let asked = &inputs.container.process;
    let rlimit = |limit: &orlop_model::container::Rlimit| Rlimit {
        kind: limit.name.clone(),
        hard: limit.hard,
        soft: limit.soft,
    };
    let size = |size: TerminalSize| serde_json::json!({ "height": size.rows, "width": size.columns });
    Ok(Process {
        terminal: terminal.is_some(),
        user: User {
            uid: inputs.user.uid,
            gid: inputs.user.gid,
            umask: None,
            additional_gids: inputs.user.groups.clone(),
        },
        args,
        env: environment::environment(inputs, terminal.is_some())?,
        cwd: command::working_folder(asked, inputs.image)?,
        rlimits: asked.rlimits.iter().map(rlimit).collect(),
        no_new_privileges: inputs.container.security.no_new_privileges,
        oom_score_adj: Some(i64::from(oom_score_adj(inputs))),
        other: terminal.map(|asked| ("consoleSize".to_owned(), size(asked))).into_iter().collect(),
        ..Process::default()
    })
}

/// Always set: what starts the container has a score of its own, which must not be inherited. Without CAP_SYS_RESOURCE it
/// can't be lower than that.
fn oom_score_adj(inputs: &Inputs<'_>) -> i16 {
    let asked = inputs.resources.oom_score_adj.unwrap_or(0);
    let may_lower = capability::bit("SYS_RESOURCE").is_some_and(|bit| inputs.host.capabilities & (1 << bit) != 0);
    if may_lower { asked } else { asked.max(inputs.host.oom_score_adj) }
}

/// Returns limits as a spec says them, without device rules.
#[must_use]
pub fn resources(asked: &orlop_model::container::Resources) -> Resources {
    // Zero leaves a limit as it is, and so does not saying it.
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let signed = |number: i64| Some(number).filter(|number| *number != 0);
    let unsigned = |number: u64| Some(number).filter(|number| *number != 0);
    let page = |(size, bytes): (&String, &u64)| HugepageLimit { page_size: size.clone(), limit: *bytes };
    Resources {
        memory: Some(Memory {
            limit: signed(asked.memory_bytes_max),
            swap: signed(asked.memory_swap_bytes_max),
            reservation: signed(asked.memory_reservation_bytes),
            swappiness: asked.memory_swappiness.map(u64::from),
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: unsigned(asked.cpu_shares),
            quota: signed(asked.cpu_quota_us),
            period: unsigned(asked.cpu_period_us),
            cpus: text(&asked.cpuset_cpus),
            mems: text(&asked.cpuset_mems),
            ..Cpu::default()
        }),
        pids: signed(asked.pids_max).map(|limit| Pids { limit: Some(limit) }),
        hugepage_limits: asked.hugepage_bytes_max.iter().map(page).collect(),
        unified: asked.unified.clone(),
        ..Resources::default()
    }
}

/// Says whose UTS namespace a sandbox has: the node's name belongs with the node's network; any other name, and any other
/// network, has one of its own.
fn uts(sandbox: &SandboxSpec) -> NamespaceScope {
    if sandbox.hostname.is_empty() { sandbox.network } else { NamespaceScope::Sandbox }
}

fn namespaces(inputs: &Inputs<'_>) -> Result<Vec<Namespace>, SpecError> {
    let Inputs { sandbox, container, .. } = inputs;
    let wanted = &container.namespaces;
    let kinds = [
        ("cgroup", &wanted.cgroup, NamespaceScope::Host),
        ("ipc", &wanted.ipc, sandbox.ipc),
        ("network", &wanted.network, sandbox.network),
        // A pod's init is started when the first container asks to share it.
        ("pid", &wanted.pid, NamespaceScope::Sandbox),
        ("uts", &wanted.uts, uts(sandbox)),
    ];
    let mut listed = vec![Namespace { kind: "mount".to_owned(), path: None }];
    if sandbox.user_namespace.is_some() {
        listed.push(Namespace { kind: "user".to_owned(), path: Some(SANDBOX.to_owned()) });
    }
    for (kind, mode, of_sandbox) in kinds {
        let path = match (mode, of_sandbox) {
            (NamespaceMode::New, _) => None,
            // What is not listed is the node's.
            (NamespaceMode::Host, _) | (NamespaceMode::OfSandbox, NamespaceScope::Host) => continue,
            (NamespaceMode::OfSandbox, NamespaceScope::Sandbox) => Some(SANDBOX.to_owned()),
            (NamespaceMode::OfContainer(id), _) => Some(of_task(id.as_str())),
            (NamespaceMode::OfOther { sandbox, container }, _) => Some(of_other(sandbox.as_str(), container.as_str())),
            (NamespaceMode::Path(path), _) => match path.to_str() {
                Some(path) if path.starts_with('/') => Some(path.to_owned()),
                Some(_) | None => {
                    let why = format!("{} is not an absolute path", path.display());
                    return Err(SpecError::invalid(format!("{kind} namespace"), why));
                }
            },
        };
        listed.push(Namespace { kind: kind.to_owned(), path });
    }
    Ok(listed)
}
