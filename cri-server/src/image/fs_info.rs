//! ImageFsInfo. What the kubelet's image garbage collection and eviction go by.

use crate::proto::{FilesystemIdentifier, FilesystemUsage, ImageFsInfoRequest, ImageFsInfoResponse, UInt64Value};
use crate::service::Cri;
use orlop_model::Failure;
use orlop_model::image::FsUsage;
use std::time::{SystemTime, UNIX_EPOCH};

/// Says what images use, and of which file system. Writable layers are on the same one.
pub(crate) async fn fs_info(cri: &Cri, _: ImageFsInfoRequest) -> Result<ImageFsInfoResponse, Failure> {
    let usage = cri.facade.images().usage().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let shown = shown(&usage, i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
    Ok(ImageFsInfoResponse { image_filesystems: vec![shown.clone()], container_filesystems: vec![shown] })
}

fn shown(usage: &FsUsage, timestamp: i64) -> FilesystemUsage {
    FilesystemUsage {
        timestamp,
        fs_id: Some(FilesystemIdentifier { mountpoint: usage.mountpoint.to_string_lossy().into_owned() }),
        used_bytes: Some(UInt64Value { value: usage.bytes }),
        inodes_used: Some(UInt64Value { value: usage.inodes }),
    }
}
