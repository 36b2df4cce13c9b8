//! `HEAD`, `GET` and `PUT /containers/{id}/archive`: files out and in, never beyond the container's root.

use super::find::{self, Found};
use crate::http::error::ApiError;
use crate::http::reply::{Answered, Reply, empty, streamed, typed};
use crate::http::server::Call;
use crate::stream::pipe::Pipe;
use crate::time::rfc3339;
use crate::translate::credentials::encode;
use bytes::BytesMut;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use orlop_model::files::{FileKind, FileStat, Overwrite, Packing, Unpack};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::json;
use std::path::{Path, PathBuf};
use tracing::warn;

/// Bytes read at once.
const COPY_BYTES: usize = 64 << 10;

pub(crate) async fn head(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let path = asked_path(call)?;
    let stat = call.app.facade.stat_file(found.id(), &path).await.map_err(|failure| missing(&found, &path, failure))?;
    let mut reply = empty(StatusCode::OK)?;
    mark(&mut reply, &stat);
    Ok(reply)
}

pub(crate) async fn get(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let path = asked_path(call)?;
    let packing = call.app.facade.pack_files(found.id(), &path).await;
    let Packing { stat, archive, ended } = packing.map_err(|failure| missing(&found, &path, failure))?;
    let pipe = Pipe::new(archive).map_err(|wrong| ApiError::internal(format!("read an archive: {wrong}")))?;
    let pieces = stream::unfold((pipe, Some(ended)), |(pipe, mut ended)| async move {
        let mut buffer = BytesMut::zeroed(COPY_BYTES);
        match pipe.read(&mut buffer).await {
            Ok(read) if read > 0 => {
                buffer.truncate(read);
                Some((buffer.freeze(), (pipe, ended)))
            }
            Ok(_) | Err(_) => {
                if let Some(ended) = ended.take()
                    && let Err(failure) = ended.await
                {
                    // The head is sent: the client sees an archive without an end.
                    warn!(error = %failure, "files of a container could not be packed to the end");
                }
                None
            }
        }
    });
    let mut reply = typed(StatusCode::OK, "application/x-tar", streamed(pieces));
    mark(&mut reply, &stat);
    call.app.tell_of(&found, "archive-path", &[]);
    Ok(reply)
}

pub(crate) async fn put(call: Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let path = asked_path(&call)?;
    let Call { app, query, request, .. } = call;
    let overwrite = if query.flag("noOverwriteDirNonDir") { Overwrite::SameKind } else { Overwrite::AnyKind };
    let owner = match query.flag("copyUIDGID") {
        true => found.view.state.checked().map(|checked| (checked.uid, checked.gid)),
        false => None,
    };
    let failed = |wrong: &dyn std::fmt::Display| ApiError::internal(format!("take an archive: {wrong}"));
    let (archive, filled) = pipe_with(PipeFlags::CLOEXEC).map_err(|wrong| failed(&wrong))?;
    rustix::io::ioctl_fionbio(&filled, true).map_err(|wrong| failed(&wrong))?;
    let filled = Pipe::new(filled).map_err(|wrong| failed(&wrong))?;
    let unpack = Unpack { to: path.clone(), archive, overwrite, owner };
    // The pipe ends with the body, and the unpacking with the pipe.
    let (unpacked, ()) =
        tokio::join!(app.facade.unpack_files(found.id(), unpack), fill(request.into_body().take(), filled));
    unpacked.map_err(|failure| missing(&found, &path, failure))?;
    app.tell_of(&found, "extract-to-dir", &[]);
    empty(StatusCode::OK)
}

/// Hands a body on, until nobody takes it.
async fn fill(body: Option<Incoming>, pipe: Pipe) {
    let Some(mut body) = body else { return };
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(bytes) = frame.into_data() else { continue };
        if pipe.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn asked_path(call: &Call) -> Result<PathBuf, ApiError> {
    match call.query.text("path") {
        "" => Err(ApiError::bad("bad parameter: 'path' cannot be empty")),
        text if text.contains('\0') => Err(ApiError::bad("bad parameter: 'path' holds a NUL character")),
        text => Ok(PathBuf::from(text)),
    }
}

fn missing(found: &Found, path: &Path, failure: orlop_model::Failure) -> ApiError {
    use orlop_model::ErrorKind;
    if failure.kind != ErrorKind::NotFound {
        return failure.into();
    }
    ApiError::not_found(format!("Could not find the file {} in container {}", path.display(), found.annex.name))
}

/// Says what the path names, in a header.
fn mark(reply: &mut Reply, stat: &FileStat) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = json!({
        "name": text(&stat.name),
        "size": stat.size,
        "mode": go_mode(stat),
        "mtime": rfc3339(stat.modified),
        "linkTarget": text(&stat.link_target),
    });
    if let Ok(value) = HeaderValue::from_str(&encode(said.to_string().as_bytes())) {
        reply.headers_mut().insert("X-Docker-Container-Path-Stat", value);
    }
}

/// Returns a mode as Go has it: the kind in the high bits, permissions in the low nine. io/fs, FileMode.
fn go_mode(stat: &FileStat) -> u32 {
    const DEVICE: u32 = 1 << 26;
    let kind = match stat.kind {
        FileKind::File => 0,
        FileKind::Folder => 1 << 31,
        FileKind::Symlink => 1 << 27,
        FileKind::BlockDevice => DEVICE,
        FileKind::CharDevice => DEVICE | 1 << 21,
        FileKind::Fifo => 1 << 25,
        FileKind::Socket => 1 << 24,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(bit, _)| stat.mode & bit != 0).map(|(_, bit)| bit).sum::<u32>();
    kind | special | (stat.mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::Timestamp;

    #[test]
    fn modes_are_those_of_go() {
        let stat = |kind, mode| FileStat {
            name: Vec::new(),
            kind,
            mode,
            size: 0,
            modified: Timestamp(0),
            link_target: Vec::new(),
        };
        assert_eq!(go_mode(&stat(FileKind::File, 0o644)), 0o644);
        assert_eq!(go_mode(&stat(FileKind::Folder, 0o755)), 2_147_484_141);
        assert_eq!(go_mode(&stat(FileKind::File, 0o4755)), 0o755 | 1 << 23);
        assert_eq!(go_mode(&stat(FileKind::Folder, 0o1777)), 1 << 31 | 1 << 20 | 0o777);
    }
}
