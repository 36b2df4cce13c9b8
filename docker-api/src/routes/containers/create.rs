//! `POST /containers/create`

use super::find;
use crate::app::App;
use crate::dto::config::{CREATE, CreateRequest};
use crate::http::body::{self, Asked};
use crate::http::error::ApiError;
use crate::http::reply::{Answered, json_with};
use crate::http::server::Call;
use crate::names;
use crate::routes::volumes::tell_of;
use crate::translate::draft::{Around, Draft, draft};
use crate::translate::volumes::Sources;
use crate::volumes::{Volume, VolumeUse};
use hyper::StatusCode;
use orlop_model::container::{Mount, NamespaceMode};
use orlop_model::container_state::Force;
use orlop_model::image::Image;
use orlop_model::reference::Reference;
use orlop_model::{ContainerId, ErrorKind};
use serde_json::json;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// Who may look into a container's files of ours: root.
const FOLDER_MODE: u32 = 0o700;
/// Volumes that one container may have: each new one is flushed to disk, and whoever else wants one waits meanwhile.
const VOLUMES_MAX: usize = 256;

pub(crate) async fn answer(call: Call) -> Answered {
    let Call { app, query, request, .. } = call;
    let asked_name = match query.text("name") {
        "" => None,
        text => Some(names::parse(text)?),
    };
    let (head, body) = request.into_parts();
    let asked: Asked<CreateRequest> = body::json(&head.headers, body, "CreateRequest", CREATE).await?;
    app.metrics.unknown.inc_by(asked.unknown);
    let mut asked =
        asked.value.ok_or_else(|| ApiError::bad("config cannot be empty in order to create a container"))?;
    let image = image(&app, &asked.config.image).await?;
    check_platform(query.text("platform"), &asked.config.image, &image)?;

    let warnings = discard(&mut asked);
    let id = app.facade.fresh_id();
    let name = match asked_name {
        Some(name) => app.names.take(&name, &id).map(|()| name)?,
        None => app.names.make_up(&id),
    };
    let answer = json!({ "Id": id.as_str(), "Warnings": warnings });
    let created = create(&app, &id, &name, asked, &image).await;
    if created.is_err() {
        app.blocking(move |app| {
            app.names.release(&name, &id);
            app.volumes.release(&id);
            app.forget_files(&id);
        })
        .await?;
    }
    created?;
    json_with(StatusCode::CREATED, &answer)
}

/// Takes away what this node's kernel has not; returns what of a request comes to nothing, for a person, as dockerd does.
fn discard(asked: &mut CreateRequest) -> Vec<&'static str> {
    let host = &mut asked.host_config;
    let mut told = Vec::new();
    if crate::routes::cgroup_version() == "2"
        && host.limits.memory_swappiness.take().is_some_and(|swappiness| swappiness != -1)
    {
        told.push("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.");
    }
    let published = host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    if host.network_mode == "host" && published {
        told.push("Published ports are discarded when using host network mode");
    }
    told
}

async fn create(
    app: &Arc<App>,
    id: &ContainerId,
    name: &str,
    asked: CreateRequest,
    image: &Image,
) -> Result<(), ApiError> {
    let node = rustix::system::uname();
    let folder = app.files_of(id);
    let around = Around {
        id,
        name,
        namespace: &crate::app::namespace(),
        image,
        folder: &folder,
        node: &node.nodename().to_string_lossy(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        gateway: app.config.bridge.gateway(),
        find: &|name| other(app, name),
        sources: Sources {
            volumes: &app.config.folder.join("volumes"),
            make_up: &|| app.facade.fresh_id().as_str().to_owned(),
            find: &|name| mounts_of(app, name),
        },
    };
    let removed_at_end = asked.host_config.auto_remove;
    let Draft { alone: wanted, volumes } = draft(asked, &around)?;
    let made = take_volumes(app, id, volumes).await?;
    for mount in &wanted.container.mounts {
        check_source(mount)?;
    }
    make_folder(&folder)?;
    if let Some(log) = &wanted.container.log {
        // There from now on, so that whoever attaches before the start can watch it.
        let made = fs::File::create(log.directory.join(&log.file));
        made.map_err(|wrong| ApiError::internal(format!("make the container's log: {wrong}")))?;
    }
    app.facade.create_alone(wanted).await.map_err(|failure| {
        // The image went between the two.
        if failure.kind == ErrorKind::NotFound { ApiError::bad(failure.message) } else { failure.into() }
    })?;
    if let Err(error) = settle_volumes(app, id, removed_at_end).await {
        // As one: it was not created.
        drop(app.facade.remove_container(id, Force::Yes).await);
        return Err(error);
    }
    made.iter().for_each(|volume| tell_of(app, volume, "create"));
    Ok(())
}

/// Makes the volumes that are not there yet.
async fn take_volumes(app: &Arc<App>, id: &ContainerId, uses: Vec<VolumeUse>) -> Result<Vec<Volume>, ApiError> {
    if uses.is_empty() {
        return Ok(Vec::new());
    }
    if uses.len() > VOLUMES_MAX {
        let count = uses.len();
        return Err(ApiError::bad(format!("{count} volumes for one container: at most {VOLUMES_MAX} are possible")));
    }
    let holder = id.clone();
    let made = app.blocking(move |app| app.volumes.take(&uses, &holder, crate::time::now())).await?;
    made.map_err(|wrong| ApiError::internal(format!("make the container's volumes: {wrong}")))
}

/// Fills volumes and lets them outlive the container: those with a name always, the others unless it is removed by itself.
async fn settle_volumes(app: &Arc<App>, id: &ContainerId, removed_at_end: bool) -> Result<(), ApiError> {
    let found = find::container(app, id.as_str())?;
    if found.annex.volumes.is_empty() {
        return Ok(());
    }
    if found.annex.unfilled {
        app.fill_volumes(id, &found.annex).await?;
    }
    let id = id.clone();
    let kept = app.blocking(move |app| app.volumes.keep(&id, |volume| volume.outlives(removed_at_end))).await?;
    kept.map_err(|wrong| ApiError::internal(format!("record the container's volumes: {wrong}")))
}

/// Returns what is mounted in another container.
fn mounts_of(app: &App, name: &str) -> Result<Vec<(Mount, Option<VolumeUse>)>, ApiError> {
    let found = find::container(app, name)?;
    let of = |mount: &Mount| found.annex.volumes.iter().find(|of| of.target == mount.target).cloned();
    Ok(found.view.asked.spec.mounts.iter().map(|mount| (mount.clone(), of(mount))).collect())
}

/// Finds the container whose namespaces are wanted.
fn other(app: &App, name: &str) -> Result<NamespaceMode, ApiError> {
    let found = find::container(app, name)?;
    Ok(NamespaceMode::OfOther { sandbox: found.view.asked.spec.sandbox.clone(), container: found.id().clone() })
}

async fn image(app: &App, name: &str) -> Result<Image, ApiError> {
    if name.is_empty() {
        return Err(ApiError::bad("invalid reference format"));
    }
    let missing = || {
        let shown = Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar());
        ApiError::not_found(format!("No such image: {shown}"))
    };
    app.facade.images().find(name).await?.ok_or_else(missing)
}

/// The node has images of one platform: asking for another finds none.
fn check_platform(asked: &str, name: &str, image: &Image) -> Result<(), ApiError> {
    let mut parts = asked.split('/');
    let (os, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let fits = |asked: &str, there: &str| asked.is_empty() || there.is_empty() || asked == there;
    let own = &image.origin;
    if fits(os, "linux") && fits(architecture, &own.architecture) {
        return Ok(());
    }
    Err(ApiError::not_found(format!(
        "image with reference {name} was found but its platform (linux/{}) does not match the specified platform ({asked})",
        own.architecture
    )))
}

/// A source in the long form must be there; in the short form it is made.
fn check_source(mount: &Mount) -> Result<(), ApiError> {
    use orlop_model::container::MissingSource;
    match mount.missing {
        MissingSource::MakeFolder => Ok(()),
        MissingSource::Refuse if fs::symlink_metadata(&mount.source).is_ok() => Ok(()),
        MissingSource::Refuse => Err(ApiError::bad(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            mount.source.display()
        ))),
    }
}

fn make_folder(folder: &Path) -> Result<(), ApiError> {
    let made = fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.map_err(|wrong| ApiError::internal(format!("make the container's folder {}: {wrong}", folder.display())))
}
