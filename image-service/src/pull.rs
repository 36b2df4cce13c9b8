//! Pulls an image: manifest, config and layers, then the record that makes them an image.

use crate::commit::Fetched;
use crate::credentials::{Fingerprint, fingerprint};
use crate::error::Error;
use crate::flights::Boarded;
use crate::hosts;
use crate::image_config::ParsedConfig;
use crate::layer;
use crate::manifest::{self, Blob, CONFIG_BYTES_MAX, Manifest, Parsed, Platform};
use crate::progress::{self, BoardLayer, Gauge, PullBoard};
use crate::remote::{Document, Remote};
use crate::session::Session;
use crate::store::{Done, LayerKey, Shared};
use futures_util::future::try_join_all;
use orlop_model::effect::ImageEffect as Part;
use orlop_model::image::Credentials;
use orlop_model::ports::PullListener;
use orlop_model::pull::Pulled;
use orlop_model::reference::{Reference, Version};
use orlop_model::{Digest, ErrorKind, Failure, Namespace};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Longest pull: the largest images over the slowest lines that anyone waits for.
const PULL_TIME_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// Indexes within indexes that are followed; the image spec allows nesting, two levels are known to be used.
const INDEX_DEPTH_MAX: usize = 4;

/// What makes two pulls the same: the reference, and who asks. A secret is only known here by its hash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PullKey {
    reference: Reference,
    credentials: Fingerprint,
    owner: Namespace,
}

/// A pull, parsed.
pub(crate) struct Wanted {
    pub(crate) reference: Reference,
    pub(crate) credentials: Credentials,
    pub(crate) owner: Namespace,
}

// === impl Wanted ===

impl Wanted {
    fn key(&self) -> PullKey {
        let (reference, owner) = (self.reference.clone(), self.owner.clone());
        PullKey { reference, credentials: fingerprint(&self.credentials), owner }
    }
}

/// Pulls an image, or waits for the same pull under way.
pub(crate) async fn pull(shared: Arc<Shared>, wanted: Wanted, listener: &dyn PullListener) -> Result<Pulled, Failure> {
    let name = wanted.reference.to_string();
    let work = Arc::clone(&shared);
    let mut pull = shared.pulls.board(wanted.key(), move |board| {
        Box::pin(async move {
            let under_way = work.metrics.begin();
            let bounded = tokio::time::timeout(PULL_TIME_MAX, run(&work, &wanted, &board)).await;
            let result = bounded.unwrap_or_else(|_| {
                let what = format!("the pull of {}", wanted.reference);
                Err(Error::TimedOut { what, seconds: PULL_TIME_MAX.as_secs() }.into())
            });
            under_way.ended(&result);
            result
        })
    });
    let result = progress::tell_until_end(&mut pull, listener).await;
    let result = result.unwrap_or_else(|| Err(Failure::new(ErrorKind::Internal, "the pull's task died")));
    result.map_err(|failure| failure.while_trying(format!("pull {name}")))
}

async fn run(shared: &Arc<Shared>, wanted: &Wanted, board: &PullBoard) -> Result<Pulled, Failure> {
    let Wanted { reference, credentials, owner } = wanted;
    let remote = Arc::new(connect(shared, reference, credentials).await?);
    let (documents, manifest) = resolve(&remote, reference.version()).await?;
    let config = remote.small_blob(&manifest.config.digest, manifest.config.size, CONFIG_BYTES_MAX).await?;
    let node = Platform::of_node();
    let config_blob = manifest.config.clone();
    let parsed = ParsedConfig::parse(&config_blob.digest, config, manifest.layers.len(), &node)?;
    // From here on nothing that this image needs is removed, also if another image that has it is.
    let fetched = Arc::new(Fetched::new(shared, reference.clone(), documents, config_blob.digest, parsed));
    let keep = Arc::clone(&fetched);
    let content = async { Ok(shared.blocking(move |shared| shared.keep_content(&keep)).await?) };
    shared.around(Part::KeepContent, content).await?;
    shared.around(Part::KeepLayers, layers(shared, &remote, &manifest, &fetched.config.diff_ids, board)).await?;
    let keep = Arc::clone(&fetched);
    let stack = async { Ok(shared.blocking(move |shared| shared.stack(&keep)).await?) };
    let stack = shared.around(Part::Stack, stack).await?;
    // One flush for everything above, before the record says that it is there.
    shared.around(Part::Flush, async { Ok(shared.flusher.flush(&shared.disk).await?) }).await?;
    let owner = owner.clone();
    let commit = async { Ok(shared.blocking(move |shared| shared.commit(&fetched, &stack, &owner)).await?) };
    shared.around(Part::Commit, commit).await
}

async fn connect(shared: &Arc<Shared>, reference: &Reference, credentials: &Credentials) -> Result<Remote, Error> {
    let (reference, credentials) = (reference.clone(), credentials.clone());
    let connected = shared.blocking(move |shared| {
        let endpoints = hosts::endpoints(shared.config.certs_dir.as_deref(), &reference)?;
        let sessions = endpoints.into_iter().map(|endpoint| {
            let client = shared.clients.get(&endpoint.url, &endpoint.authorities)?;
            Ok(Session::new(endpoint, client, &reference, &credentials, Arc::clone(&shared.tokens)))
        });
        Ok(Remote::new(sessions.collect::<Result<_, Error>>()?, reference.path()))
    });
    connected.await
}

/// Fetches the manifest for this node, through indexes. Returns every document on the way, the one that was asked for first.
async fn resolve(remote: &Remote, version: &Version) -> Result<(Vec<Document>, Manifest), Error> {
    let mut documents = vec![remote.document(version).await?];
    loop {
        let newest = documents.last().expect("it starts with one and only grows");
        let entries = match Parsed::parse(newest)? {
            Parsed::Manifest(manifest) => return Ok((documents, manifest)),
            Parsed::Index(entries) => entries,
        };
        if documents.len() > INDEX_DEPTH_MAX {
            let why = format!("indexes are nested more than {INDEX_DEPTH_MAX} deep");
            return Err(Error::too_large(&documents[0].digest, why));
        }
        let node = Platform::of_node();
        let Some(entry) = manifest::choose(&entries, &node) else {
            let why = format!("none of its {} images is for {}/{}", entries.len(), node.os, node.architecture);
            return Err(Error::unsupported(&newest.digest, why));
        };
        let chosen = Version::Digest(entry.digest.clone());
        documents.push(remote.document(&chosen).await?);
    }
}

/// Fetches the layers that are not there, at once; a layer that two pulls want is fetched by one of them.
async fn layers(
    shared: &Arc<Shared>,
    remote: &Arc<Remote>,
    manifest: &Manifest,
    diff_ids: &[Digest],
    board: &PullBoard,
) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    let mut fetches = Vec::new();
    let mut shown = Vec::new();
    for (diff_id, blob) in diff_ids.iter().zip(&manifest.layers).filter(|(diff_id, _)| seen.insert(*diff_id)) {
        let fetch = (!shared.has_layer(diff_id)).then(|| fetch(shared, remote, blob, diff_id));
        let gauge = fetch.as_ref().map(|fetch| Arc::clone(fetch.board()));
        shown.push(BoardLayer { blob: blob.digest.clone(), gauge });
        fetches.extend(fetch);
    }
    board.begin(shown);
    let ends = fetches.iter_mut().map(|fetch| async {
        let fetched = fetch.end().await;
        fetched.unwrap_or_else(|| Err(Failure::new(ErrorKind::Internal, "the layer's task died")))
    });
    try_join_all(ends).await.map(drop)
}

/// Fetches a layer, or joins who does.
fn fetch(shared: &Arc<Shared>, remote: &Arc<Remote>, blob: &Blob, diff_id: &Digest) -> Boarded<LayerKey, Done, Gauge> {
    // By both digests: a broken blob must not fail those who get the same layer from another one.
    let key = (diff_id.clone(), blob.digest.clone());
    let (work, remote, blob, diff_id) = (Arc::clone(shared), Arc::clone(remote), blob.clone(), diff_id.clone());
    shared.layers.board(key, |gauge| Box::pin(layer::fetch(work, remote, blob, diff_id, gauge)))
}
