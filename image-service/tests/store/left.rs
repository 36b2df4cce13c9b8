//! Pulls that whoever asked for them leaves.

use crate::bench::{Bench, SETTLE_LIMIT, config, image, pull, request};
use crate::servers::{Fake, partial, reply};
use orlop_images::Store;
use orlop_model::effect::{Effect, ImageEffect, Moment};
use orlop_model::ports::{Failpoints, Images, PullListener, Verdict};
use orlop_model::pull::{LayerStage, PullProgress};
use orlop_testkit::image_builder::digest;
use orlop_testkit::registry::Registry;
use orlop_testkit::wait_until;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

#[track_caller]
fn nothing_is_kept(bench: &Bench) {
    wait_until(SETTLE_LIMIT, "nothing is kept", || {
        let kept = ["layers", "content", "images"].iter().all(|folder| bench.inside(folder).is_empty());
        kept.then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pull_that_nobody_waits_for_is_cancelled_and_leaves_nothing() {
    let bench = Bench::new();
    // A server that never answers the layer: the pull can only end by being left.
    let built = image(&[&[("a", "1")]]);
    let silent = Fake::start(vec![
        ("/manifests/", reply(200, &built.media_type, &built.manifest)),
        (&built.id(), reply(200, "application/octet-stream", &built.config)),
        ("/blobs/", partial(&built.layers[0])),
    ]);
    let name = format!("{}/x:1", silent.host());
    let left = tokio::time::timeout(Duration::from_millis(300), pull(&bench.store, &name)).await;
    assert!(left.is_err(), "it can't have succeeded: {left:?}");
    bench.settled();
    nothing_is_kept(&bench);
}

/// Tells a test what it hears.
struct Teller(tokio::sync::watch::Sender<PullProgress>);

impl PullListener for Teller {
    fn hear(&self, progress: &PullProgress) {
        self.0.send_replace(progress.clone());
    }
}

#[tokio::test]
async fn pull_that_nobody_waits_for_any_more_leaves_nothing_behind() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")], &[("b", "2")]]);
    // The first layer comes whole, the second one stops in the middle.
    let server = Fake::start(vec![
        ("/manifests/", reply(200, &built.media_type, &built.manifest)),
        (&built.id(), reply(200, "application/octet-stream", &built.config)),
        (&digest(&built.layers[0]), reply(200, "application/octet-stream", &built.layers[0])),
        (&digest(&built.layers[1]), partial(&built.layers[1])),
    ]);
    let (teller, mut heard) = tokio::sync::watch::channel(PullProgress::default());
    let request = request(&format!("{}/x:1", server.host()));
    let (store, asked) = (bench.store.clone(), request.clone());
    let pull = tokio::spawn(async move { store.pull(&asked, &Teller(teller)).await });
    let half = built.layers[1].len() as u64 / 2;
    let stuck = |progress: &PullProgress| {
        let stages: Vec<_> = progress.layers.iter().map(|layer| layer.stage).collect();
        let total = built.layers[1].len() as u64;
        stages == [LayerStage::Complete, LayerStage::Downloading { bytes: half, total }]
    };
    heard.wait_for(stuck).await.unwrap();
    // Another one joins and hears at once how far it is.
    let (teller, mut joined) = tokio::sync::watch::channel(PullProgress::default());
    let store = bench.store.clone();
    let second = tokio::spawn(async move { store.pull(&request, &Teller(teller)).await });
    joined.wait_for(stuck).await.unwrap();
    // What is downloaded is unpacked by a thread of its own, which may only begin.
    wait_until(SETTLE_LIMIT, "the second layer is begun", || (!bench.inside("ingest").is_empty()).then_some(()));
    pull.abort();
    assert!(pull.await.unwrap_err().is_cancelled());
    assert!(!bench.inside("ingest").is_empty(), "the second one still waits");
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    bench.settled();
    nothing_is_kept(&bench);
}

/// Keeps the only thread for blocking work busy before a part of a pull, and so the part waiting.
struct Busy {
    before: ImageEffect,
    /// Says that it is; taken when it is used.
    reached: Mutex<Option<oneshot::Sender<()>>>,
    /// Ends it.
    end: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Failpoints for Busy {
    fn reach(&self, effect: Effect, moment: Moment) -> Verdict {
        if (effect, moment) == (Effect::Image(self.before), Moment::Before)
            && let Some(reached) = self.reached.lock().unwrap().take()
        {
            let end = Arc::clone(&self.end);
            tokio::task::spawn_blocking(move || end.lock().unwrap().recv());
            reached.send(()).unwrap();
        }
        Verdict::Pass
    }
}

/// Pulls an image and leaves when this part waits for its thread; returns once the part was done.
fn left_before(part: ImageEffect) -> Bench {
    let (reached, is_reached) = oneshot::channel();
    let (end, ended) = mpsc::channel();
    let busy = Busy { before: part, reached: Mutex::new(Some(reached)), end: Arc::new(Mutex::new(ended)) };
    let folder = tempfile::Builder::new().prefix("orlop-images-").tempdir().unwrap();
    let store = Store::with_failpoints(config(folder.path()), Arc::new(busy)).unwrap();
    let bench = Bench { store, registry: Registry::start().unwrap(), folder };
    image(&[&[("a", "1")]]).push(&bench.registry, "x", &["1"]).unwrap();
    // One thread does everything in its turn; the one for blocking work, too.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (store, name) = (bench.store.clone(), bench.at("x:1"));
        let pull = tokio::spawn(async move { pull(&store, &name).await });
        // Dropped before the runtime, which waits for its threads.
        let end = end;
        is_reached.await.unwrap();
        pull.abort();
        assert!(pull.await.unwrap_err().is_cancelled());
        // The pull's own task hears of it now, if it did not before.
        tokio::task::yield_now().await;
        end.send(()).unwrap();
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    });
    bench
}

#[test]
fn content_written_after_its_pull_was_left_goes() {
    let bench = left_before(ImageEffect::KeepContent);
    bench.settled();
    nothing_is_kept(&bench);
}

#[test]
fn an_image_recorded_after_its_pull_was_left_is_whole() {
    let bench = left_before(ImageEffect::Commit);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let images = runtime.block_on(bench.store.list()).unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!((bench.inside("layers").len(), bench.inside("content").len()), (1, 2));
    // A start sets an image aside that lacks anything.
    let bench = bench.reopen();
    assert_eq!(runtime.block_on(bench.store.list()).unwrap(), images);
}
