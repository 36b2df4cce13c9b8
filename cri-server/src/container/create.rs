//! CreateContainer: translate, find out what only the node can tell, create.

use crate::proto::{CreateContainerRequest, CreateContainerResponse, PodSandboxConfig};
use crate::service::Cri;
use crate::translate::container::{Around, Found, draft};
use crate::translate::quoted;
use crate::{annex, request};
use orlop_model::{ContainerId, ErrorKind, Failure, ImageId, SandboxId};
use orlop_usecases::CreateContainer;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest seccomp profile read. Those in use have some 20 KiB.
const PROFILE_BYTES_MAX: u64 = 1 << 20;

/// Creates a container; no process of it runs yet. The same request again returns the same id.
pub(crate) async fn create(cri: &Cri, request: CreateContainerRequest) -> Result<CreateContainerResponse, Failure> {
    let sandbox = cri.sandbox(&request.pod_sandbox_id)?;
    let made_from = cri.annexes.sandbox(&sandbox.asked)?;
    let nothing = PodSandboxConfig::default();
    let around = Around {
        sandbox: &sandbox.asked,
        config: made_from.config.as_ref().unwrap_or(&nothing),
        recursive_read_only: cri.config.recursive_read_only,
    };
    let draft = draft(request.config.as_ref(), around)?;
    let found = Found {
        image: image(cri, &draft.needs.image).await?,
        target: draft.needs.target.as_deref().map(|id| target(cri, &sandbox.asked.id, id)).transpose()?,
        seccomp: match &draft.needs.seccomp {
            Some(path) => Some(profile(path.clone()).await?),
            None => None,
        },
    };
    let (spec, resources) = draft.finish(found);
    // Kept under the whole id, also when the request had cut it short: the same container is the same request.
    let request = CreateContainerRequest { pod_sandbox_id: sandbox.asked.id.to_string(), ..request };
    let asked = CreateContainer { spec, resources, annex: annex::of_container(request) };
    let id = cri.facade.create_container(asked).await?;
    request::about_container(id.as_str());
    Ok(CreateContainerResponse { container_id: id.into() })
}

async fn image(cri: &Cri, reference: &str) -> Result<ImageId, Failure> {
    match cri.facade.images().find(reference).await? {
        Some(image) => Ok(image.id),
        None => {
            let message = format!("create container: image {} is not on this node; pull it first", quoted(reference));
            Err(Failure::new(ErrorKind::NotFound, message))
        }
    }
}

/// Finds the container whose process ids are to be shared: one of the same pod.
fn target(cri: &Cri, sandbox: &SandboxId, id: &str) -> Result<ContainerId, Failure> {
    const TRIED: &str = "create container: linux.security_context.namespace_options.target_id";
    let view = cri.facade.find_container(id).map_err(|failure| failure.while_trying(TRIED))?;
    if view.asked.spec.sandbox != *sandbox {
        let message = format!("{TRIED}: container {} belongs to another pod", view.asked.id);
        return Err(Failure::new(ErrorKind::InvalidArgument, message));
    }
    Ok(view.asked.id.clone())
}

/// Reads a seccomp profile. On a thread of its own: the file may be on anything.
async fn profile(path: PathBuf) -> Result<String, Failure> {
    let read = tokio::task::spawn_blocking(move || read_profile(&path)).await;
    read.unwrap_or_else(|error| Err(Failure::because(ErrorKind::Internal, &error)))
}

fn read_profile(path: &Path) -> Result<String, Failure> {
    let name = quoted(&path.to_string_lossy());
    let refused = |kind, problem: &dyn std::fmt::Display| {
        Failure::new(kind, format!("create container: read seccomp profile {name}: {problem}"))
    };
    // The caller chose the file: what can't be read is for the caller to mend.
    let of_io = |error: std::io::Error| refused(ErrorKind::InvalidArgument, &error);
    // Looked at before it is opened: opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(of_io)?.is_file() {
        return Err(refused(ErrorKind::InvalidArgument, &"is not a file"));
    }
    let file = std::fs::File::open(path).map_err(of_io)?;
    let mut text = String::new();
    file.take(PROFILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(of_io)?;
    if text.len() as u64 > PROFILE_BYTES_MAX {
        let problem = format!("has more than {PROFILE_BYTES_MAX} bytes");
        return Err(refused(ErrorKind::InvalidArgument, &problem));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_a_file_of_text_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.json");
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read_profile(&path).unwrap(), "{}");
        std::fs::write(&path, vec![b' '; 1 << 21]).unwrap();
        for (path, says) in [
            (path.as_path(), "more than"),
            (folder.path(), "is not a file"),
            (&folder.path().join("missing"), "No such file"),
        ] {
            let failure = read_profile(path).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::InvalidArgument);
            assert!(failure.message.contains(says), "{failure}");
        }
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_profile(&path).unwrap_err().kind, ErrorKind::InvalidArgument);
    }
}
