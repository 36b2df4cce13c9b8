//! Lists in pieces, for nodes with more than one message of 16 MiB can hold.

use crate::proto::*;
use crate::service::Cri;
use crate::{container, image, sandbox};
use orlop_model::Failure;
use prost::Message;

/// Bytes at which a piece is long enough. One item alone may be longer.
const PIECE_BYTES: usize = 1 << 20;

/// Cuts a list into pieces, in order, each with one item at least; none when it is empty.
fn pieces<T: Message, P>(items: Vec<T>, piece: impl Fn(Vec<T>) -> P) -> Vec<P> {
    let (mut pieces, mut next, mut bytes) = (Vec::new(), Vec::new(), 0);
    for item in items {
        bytes += item.encoded_len();
        next.push(item);
        if bytes >= PIECE_BYTES {
            pieces.push(piece(std::mem::take(&mut next)));
            bytes = 0;
        }
    }
    if !next.is_empty() {
        pieces.push(piece(next));
    }
    pieces
}

/// StreamPodSandboxes.
pub(crate) async fn sandboxes(
    cri: &Cri,
    request: StreamPodSandboxesRequest,
) -> Result<Vec<StreamPodSandboxesResponse>, Failure> {
    let list = sandbox::list::list(cri, ListPodSandboxRequest { filter: request.filter }).await?;
    Ok(pieces(list.items, |pod_sandboxes| StreamPodSandboxesResponse { pod_sandboxes }))
}

/// StreamPodSandboxStats.
pub(crate) async fn sandbox_stats(
    cri: &Cri,
    request: StreamPodSandboxStatsRequest,
) -> Result<Vec<StreamPodSandboxStatsResponse>, Failure> {
    let list = sandbox::stats::list(cri, ListPodSandboxStatsRequest { filter: request.filter }).await?;
    Ok(pieces(list.stats, |pod_sandbox_stats| StreamPodSandboxStatsResponse { pod_sandbox_stats }))
}

/// StreamContainers.
pub(crate) async fn containers(
    cri: &Cri,
    request: StreamContainersRequest,
) -> Result<Vec<StreamContainersResponse>, Failure> {
    let list = container::list::list(cri, ListContainersRequest { filter: request.filter }).await?;
    Ok(pieces(list.containers, |containers| StreamContainersResponse { containers }))
}

/// StreamContainerStats.
pub(crate) async fn container_stats(
    cri: &Cri,
    request: StreamContainerStatsRequest,
) -> Result<Vec<StreamContainerStatsResponse>, Failure> {
    let list = container::stats::list(cri, ListContainerStatsRequest { filter: request.filter }).await?;
    Ok(pieces(list.stats, |container_stats| StreamContainerStatsResponse { container_stats }))
}

/// StreamImages.
pub(crate) async fn images(cri: &Cri, request: StreamImagesRequest) -> Result<Vec<StreamImagesResponse>, Failure> {
    let list = image::list::list(cri, ListImagesRequest { filter: request.filter }).await?;
    Ok(pieces(list.images, |images| StreamImagesResponse { images }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_piece_in_order_and_no_piece_is_empty_or_endless() {
        let item = |i: usize| Image { id: format!("{i}{}", "x".repeat(PIECE_BYTES / 3)), ..Default::default() };
        for count in [0, 1, 3, 8] {
            let items: Vec<Image> = (0..count).map(item).collect();
            let pieces = pieces(items.clone(), |images| images);
            assert!(pieces.iter().all(|piece| (1..=3).contains(&piece.len())), "{}", pieces.len());
            assert_eq!(pieces.concat(), items);
        }
    }
}
