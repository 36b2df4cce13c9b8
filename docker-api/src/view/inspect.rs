//! A container as `GET /containers/{id}/json` shows it.

use super::network::Addressed;
use super::state;
use super::summary::Sizes;
use crate::annex::Annex;
use crate::http::version::Version;
use crate::time::rfc3339;
use crate::translate::complete::shown_paths;
use crate::volumes::LOCAL;
use orlop_model::container::{Mount, MountAccess, Propagation};
use orlop_usecases::{ContainerView, SandboxView};
use serde_json::{Value, json};
use std::path::Path;

/// What inspect is told beside the container itself.
pub(crate) struct Around<'a> {
    pub(crate) sandbox: Option<&'a SandboxView>,
    /// Ids of programs that run beside its own.
    pub(crate) execs: Vec<String>,
    pub(crate) sizes: Option<Sizes>,
    /// Digest of the manifest that its image came with.
    pub(crate) manifest: Option<String>,
    pub(crate) version: Version,
}

/// Returns everything about a container.
pub(crate) fn shown(view: &ContainerView, annex: &Annex, around: &Around<'_>) -> Value {
    let id = view.asked.id.as_str();
    let file = |path: Option<&Path>| path.map(|path| path.display().to_string()).unwrap_or_default();
    let log = view.asked.spec.log.as_ref().map(|log| log.directory.join(&log.file));
    let (path, args) = annex.command.split_first().map(|(path, args)| (path.as_str(), args)).unwrap_or_default();
    let mut shown = json!({
        "Id": id,
        "Created": rfc3339(view.asked.created_at),
        "Path": path,
        "Args": args,
        "State": state::shown(&view.state, annex),
        "Image": view.asked.spec.image.to_string(),
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": file(log.as_deref()),
        "Name": format!("/{}", annex.name),
        "RestartCount": annex.kept.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": if around.execs.is_empty() { Value::Null } else { json!(around.execs) },
        "HostConfig": host_config(annex, around.version),
        "GraphDriver": { "Data": null, "Name": "overlay2" },
        "Mounts": mounts(view, annex),
        "Config": config(annex),
        "NetworkSettings": Addressed::new(annex, around.sandbox).settings(id),
    });
    if let Some(sizes) = around.sizes {
        shown["SizeRw"] = json!(sizes.written);
        shown["SizeRootFs"] = json!(sizes.all);
    }
    if let Some(digest) = around.manifest.as_ref().filter(|_| around.version >= Version::v1(48)) {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        shown["ImageManifestDescriptor"] = json!({ "mediaType": media_type, "digest": digest, "size": 0 });
    }
    shown
}

fn config(annex: &Annex) -> Value {
    json!(annex.config)
}

/// Returns what was asked, with what nothing can be asked of yet.
fn host_config(annex: &Annex, version: Version) -> Value {
    let host = &annex.host_config;
    let mut shown = json!(host);
    shown["MaskedPaths"] = json!(shown_paths(host.masked_paths.as_ref(), host.privileged, true));
    shown["ReadonlyPaths"] = json!(shown_paths(host.readonly_paths.as_ref(), host.privileged, false));
    if host.console_size.is_none() {
        shown["ConsoleSize"] = json!([0, 0]);
    }
    if host.port_bindings.is_none() {
        shown["PortBindings"] = json!({});
    }
    if version < Version::v1(40) {
        // An older client knows no cgroup namespaces.
        shown.as_object_mut().map(|fields| fields.remove("CgroupnsMode"));
    }
    let rest = json!({
        "BlkioDeviceReadBps": null,
        "BlkioDeviceReadIOps": null,
        "BlkioDeviceWriteBps": null,
        "BlkioDeviceWriteIOps": null,
        "BlkioWeight": 0,
        "BlkioWeightDevice": null,
        "Cgroup": "",
        "CpuCount": 0,
        "CpuPercent": 0,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "DeviceRequests": null,
        "IOMaximumBandwidth": 0,
        "IOMaximumIOps": 0,
        "Links": null,
        "OomKillDisable": null,
    });
    if let (Value::Object(shown), Value::Object(rest)) = (&mut shown, rest) {
        shown.extend(rest);
    }
    shown
}

/// Returns the mounts that were asked for.
pub(crate) fn mounts(view: &ContainerView, annex: &Annex) -> Vec<Value> {
    view.asked.spec.mounts.iter().map(|mount| one_mount(mount, annex)).collect()
}

fn one_mount(mount: &Mount, annex: &Annex) -> Value {
    let writable = mount.access == MountAccess::ReadWrite;
    let mut shown = json!({
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": if writable { "" } else { "ro" },
        "RW": writable,
    });
    if let Some(volume) = annex.volumes.iter().find(|volume| volume.target == mount.target) {
        shown["Type"] = json!("volume");
        shown["Name"] = json!(volume.name);
        shown["Driver"] = json!(LOCAL);
        shown["Propagation"] = json!("");
        if writable && !volume.anonymous {
            // As dockerd shows it, with SELinux or without.
            shown["Mode"] = json!("z");
        }
        return shown;
    }
    shown["Type"] = json!("bind");
    shown["Propagation"] = json!(match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    });
    shown
}
