//! Contracts of [`Images`].

use crate::objects::{container_id, no_image};
use orlop_model::image::{Credentials, HeldName, Image};
use orlop_model::image_removal::{ImageUser, Removal, RemovalRule, Removed};
use orlop_model::ports::{Images, PullListener, Unheard};
use orlop_model::pull::{Fresh, LayerStage, PullProgress, PullRequest};
use orlop_model::{ContainerId, ErrorKind, Failure, ImageId, Namespace};
use std::sync::Mutex;

/// What the contracts stand on: a store, and somewhere to pull from.
pub trait ImagesGround {
    /// The images, as the daemon of the moment has them.
    fn images(&self) -> &dyn Images;
    /// Returns references, by tag, of two different images that can be pulled.
    fn references(&self) -> [String; 2];
    /// Returns a reference of an image that is nowhere.
    fn absent(&self) -> String;
    /// Lets the daemon die and another one take its place.
    fn restart(&mut self);
}

/// Writes one test for each contract. `ground!(name)` makes an [`images::ImagesGround`](crate::images::ImagesGround).
#[macro_export]
macro_rules! images {
    ($test:tt, $ground:ident) => {
        $crate::suite! { images, $test, $ground,
            a_pulled_image_is_found_by_every_name_it_has
            a_pull_that_comes_again_gives_the_same_image
            what_is_nowhere_is_not_found_and_its_removal_is_quiet
            a_removed_image_is_gone_under_every_name
            a_listener_hears_of_every_layer_before_the_pull_is_done
            a_tag_is_one_more_name_until_it_is_removed
            a_tag_that_moves_keeps_its_holders
            what_another_holds_is_not_removed_as_a_whole
            what_a_container_uses_keeps_its_last_name
            a_container_is_prepared_on_one_image_however_often
            a_prepared_container_has_a_root_and_the_settings_of_its_image
            what_was_not_prepared_has_neither_root_nor_settings
            leftovers_are_exactly_what_has_a_writable_layer
            dropping_again_or_what_never_was_is_quiet
            a_prepared_container_outlives_its_image_and_the_daemon
        }
    };
}

async fn pull(ground: &impl ImagesGround, reference: &str) -> Result<ImageId, Failure> {
    let pulled = ground.images().pull(&request(reference), &Unheard).await?;
    Ok(pulled.image)
}

fn request(reference: &str) -> PullRequest {
    PullRequest { reference: reference.to_owned(), credentials: Credentials::Anonymous, owner: owner("one") }
}

fn owner(name: &str) -> Namespace {
    Namespace(name.to_owned())
}

async fn remove(
    ground: &impl ImagesGround,
    reference: &str,
    rule: RemovalRule,
    users: &[ImageUser],
) -> Result<Removed, Failure> {
    let removal = Removal { reference: reference.to_owned(), by: owner("one"), rule, users: users.to_vec() };
    ground.images().remove(&removal).await
}

async fn pulled(ground: &impl ImagesGround) -> Image {
    let [reference, _] = ground.references();
    let id = pull(ground, &reference).await.unwrap();
    ground.images().find(&id.to_string()).await.unwrap().unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, kind: ErrorKind) {
    assert_eq!(result.unwrap_err().kind, kind);
}

/// By id, by the part of an id that a person types, by tag, by digest.
pub async fn a_pulled_image_is_found_by_every_name_it_has(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let id = image.id.to_string();
    let hex = id.split_once(':').unwrap().1;
    assert!(!image.tags.is_empty() && !image.digests.is_empty() && image.bytes > 0, "{image:?}");
    let names = image.tags.iter().chain(&image.digests).map(String::as_str);
    for name in names.chain([id.as_str(), hex, &hex[..12]]) {
        assert_eq!(ground.images().find(name).await.unwrap().as_ref(), Some(&image), "{name}");
    }
    assert!(ground.images().list().await.unwrap().contains(&image));
    assert!(ground.images().usage().await.unwrap().mountpoint.exists());
}

/// The kubelet pulls before each start.
pub async fn a_pull_that_comes_again_gives_the_same_image(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    assert_eq!(pulled(&ground).await, image);
    let [_, other] = ground.references();
    assert_ne!(pull(&ground, &other).await.unwrap(), image.id);
}

/// In a look, in a pull, in a preparation.
pub async fn what_is_nowhere_is_not_found_and_its_removal_is_quiet(ground: impl ImagesGround) {
    let absent = ground.absent();
    assert_eq!(ground.images().find(&absent).await.unwrap(), None);
    assert_eq!(ground.images().find(&no_image().to_string()).await.unwrap(), None);
    assert_eq!(remove(&ground, &absent, RemovalRule::Whole, &[]).await.unwrap(), Removed::default());
    refused(pull(&ground, &absent).await, ErrorKind::NotFound);
    refused(ground.images().prepare(&container_id("c"), &no_image()).await, ErrorKind::NotFound);
    assert_eq!(ground.images().leftovers().await.unwrap(), []);
}

/// Whichever of them was given.
pub async fn a_removed_image_is_gone_under_every_name(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let removed = remove(&ground, &image.tags[0], RemovalRule::Whole, &[]).await.unwrap();
    assert_eq!(removed.image.as_ref(), Some(&image.id));
    assert_eq!(removed.untagged, image.tags.iter().chain(&image.digests).cloned().collect::<Vec<_>>());
    for name in image.tags.iter().chain(&image.digests).chain([&image.id.to_string()]) {
        assert_eq!(ground.images().find(name).await.unwrap(), None, "{name}");
        for rule in [RemovalRule::Whole, RemovalRule::Named] {
            assert_eq!(remove(&ground, name, rule, &[]).await.unwrap(), Removed::default(), "{name}");
        }
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<PullProgress>>);

impl PullListener for Heard {
    fn hear(&self, progress: &PullProgress) {
        self.0.lock().unwrap().push(progress.clone());
    }
}

/// A joined pull, or one that finds everything there, tells too.
pub async fn a_listener_hears_of_every_layer_before_the_pull_is_done(ground: impl ImagesGround) {
    let [reference, _] = ground.references();
    for _ in 0..2 {
        let heard = [Heard::default(), Heard::default()];
        let request = request(&reference);
        let first = ground.images().pull(&request, &heard[0]).await.unwrap();
        let second = ground.images().pull(&request, &heard[1]).await.unwrap();
        assert_eq!((&first.image, &first.digest), (&second.image, &second.digest));
        assert_eq!(second.fresh, Fresh::No);
        for Heard(told) in heard {
            let told = told.into_inner().unwrap();
            let last = told.last().unwrap();
            let done =
                last.layers.iter().all(|layer| matches!(layer.stage, LayerStage::Present | LayerStage::Complete));
            assert!(done && !last.layers.is_empty(), "{last:?}");
        }
    }
}

fn held(image: &Image, name: &str) -> Vec<String> {
    image.held.iter().filter(|held| held.name == name).map(|HeldName { by, .. }| by.0.clone()).collect()
}

/// Names outlive the daemon, with who holds them.
pub async fn a_tag_is_one_more_name_until_it_is_removed(mut ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let id = image.id.to_string();
    assert_eq!(held(&image, &image.digests[0]), ["one"]);
    for _ in 0..2 {
        assert_eq!(ground.images().tag(&id, "own/name", &owner("two")).await.unwrap(), image.id);
        ground.restart();
    }
    let name = "docker.io/own/name:latest";
    let found = ground.images().find("own/name").await.unwrap().unwrap();
    assert_eq!((&found.id, found.tags.contains(&name.to_owned())), (&image.id, true));
    assert_eq!(held(&found, name), ["two"]);
    refused(ground.images().tag(&ground.absent(), "own/name", &owner("two")).await, ErrorKind::NotFound);
    for bad in ["own/Name", "", &format!("a@{}", image.id)] {
        refused(ground.images().tag(&id, bad, &owner("two")).await, ErrorKind::InvalidArgument);
    }
    let removed = remove(&ground, "own/name", RemovalRule::Named, &[]).await.unwrap();
    assert_eq!(removed, Removed { untagged: vec![name.to_owned()], ..Removed::default() });
    ground.restart();
    assert_eq!(ground.images().find("own/name").await.unwrap(), None);
    let left = ground.images().find(&id).await.unwrap().unwrap();
    assert_eq!((left.tags, left.held), (image.tags, image.held));
}

/// Whoever moves it.
pub async fn a_tag_that_moves_keeps_its_holders(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let [_, other] = ground.references();
    let other = pull(&ground, &other).await.unwrap();
    let name = "docker.io/own/name:latest";
    for (target, by) in [(&image.id, "two"), (&other, "three")] {
        ground.images().tag(&target.to_string(), name, &owner(by)).await.unwrap();
    }
    let found = ground.images().find(name).await.unwrap().unwrap();
    assert_eq!((&found.id, held(&found, name)), (&other, vec!["three".to_owned(), "two".to_owned()]));
    let before = ground.images().find(&image.id.to_string()).await.unwrap().unwrap();
    assert!(!before.tags.contains(&name.to_owned()) && held(&before, name).is_empty(), "{before:?}");
}

/// The kubelet's garbage collection must not take a user's images.
pub async fn what_another_holds_is_not_removed_as_a_whole(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    ground.images().tag(&image.id.to_string(), "own/name", &owner("two")).await.unwrap();
    let refusal = remove(&ground, &image.tags[0], RemovalRule::Whole, &[]).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::WrongState);
    assert!(refusal.message.contains("two") && refusal.message.contains("own/name"), "{refusal}");
    remove(&ground, "own/name", RemovalRule::Named, &[]).await.unwrap();
    let user =
        ImageUser { image: image.id.clone(), container: container_id("c"), namespace: owner("two"), running: false };
    refused(remove(&ground, &image.tags[0], RemovalRule::Whole, &[user]).await, ErrorKind::WrongState);
    let there = ground.images().find(&image.tags[0]).await.unwrap().unwrap();
    assert_eq!((there.tags, there.digests), (image.tags.clone(), image.digests.clone()));
    assert_eq!(remove(&ground, &image.tags[0], RemovalRule::Whole, &[]).await.unwrap().image, Some(image.id));
}

/// By force it loses the name alone while it runs.
pub async fn what_a_container_uses_keeps_its_last_name(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let mut user =
        ImageUser { image: image.id.clone(), container: container_id("c"), namespace: owner("one"), running: true };
    let ask = |rule, user: &ImageUser| {
        let user = user.clone();
        let (ground, name) = (&ground, &image.tags[0]);
        async move { remove(ground, name, rule, &[user]).await }
    };
    refused(ask(RemovalRule::Named, &user).await, ErrorKind::WrongState);
    let removed = ask(RemovalRule::NamedByForce, &user).await.unwrap();
    assert_eq!((removed.image, removed.untagged.len()), (None, 1 + image.digests.len()));
    let left = ground.images().find(&image.id.to_string()).await.unwrap().unwrap();
    assert_eq!((left.tags.len(), left.digests.len(), left.held.len()), (0, 0, 0));
    user.running = false;
    let id = image.id.to_string();
    refused(remove(&ground, &id, RemovalRule::Named, std::slice::from_ref(&user)).await, ErrorKind::WrongState);
    let gone = remove(&ground, &id, RemovalRule::NamedByForce, &[user]).await.unwrap();
    assert_eq!(gone.image, Some(image.id));
}

/// A crash may fall between the preparation and its record; a name taken by another request is a fault.
pub async fn a_container_is_prepared_on_one_image_however_often(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let [_, other] = ground.references();
    let other = pull(&ground, &other).await.unwrap();
    let id = container_id("c");
    for _ in 0..2 {
        ground.images().prepare(&id, &image.id).await.unwrap();
    }
    refused(ground.images().prepare(&id, &other).await, ErrorKind::AlreadyExists);
    assert_eq!(ground.images().leftovers().await.unwrap(), std::slice::from_ref(&id));
    ground.images().drop_rootfs(&id).await.unwrap();
    ground.images().prepare(&id, &other).await.unwrap();
    ground.images().drop_rootfs(&id).await.unwrap();
}

/// As often as is asked: check and start both do.
pub async fn a_prepared_container_has_a_root_and_the_settings_of_its_image(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let id = container_id("c");
    ground.images().prepare(&id, &image.id).await.unwrap();
    for _ in 0..2 {
        drop(ground.images().rootfs(&id, None).await.unwrap());
        assert_eq!(ground.images().config_of(&id).await.unwrap(), image.config);
    }
    ground.images().drop_rootfs(&id).await.unwrap();
}

/// Nor has what was dropped.
pub async fn what_was_not_prepared_has_neither_root_nor_settings(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let [never, dropped] = ["never", "dropped"].map(container_id);
    ground.images().prepare(&dropped, &image.id).await.unwrap();
    ground.images().drop_rootfs(&dropped).await.unwrap();
    for id in [&never, &dropped] {
        refused(ground.images().rootfs(id, None).await, ErrorKind::NotFound);
        refused(ground.images().config_of(id).await, ErrorKind::NotFound);
    }
}

async fn leftovers(ground: &impl ImagesGround) -> Vec<ContainerId> {
    let mut found = ground.images().leftovers().await.unwrap();
    found.sort();
    found
}

/// Recovery sweeps by this list.
pub async fn leftovers_are_exactly_what_has_a_writable_layer(mut ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let [one, two] = ["one", "two"].map(container_id);
    assert_eq!(leftovers(&ground).await, []);
    ground.images().prepare(&one, &image.id).await.unwrap();
    ground.images().prepare(&two, &image.id).await.unwrap();
    assert_eq!(leftovers(&ground).await, [one.clone(), two.clone()]);
    ground.images().drop_rootfs(&one).await.unwrap();
    ground.restart();
    assert_eq!(leftovers(&ground).await, std::slice::from_ref(&two));
    ground.images().drop_rootfs(&two).await.unwrap();
    assert_eq!(leftovers(&ground).await, []);
}

/// A crash may fall between the deletion and its record.
pub async fn dropping_again_or_what_never_was_is_quiet(mut ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let id = container_id("c");
    ground.images().prepare(&id, &image.id).await.unwrap();
    for _ in 0..2 {
        ground.images().drop_rootfs(&id).await.unwrap();
        ground.images().drop_rootfs(&container_id("never")).await.unwrap();
        ground.restart();
    }
    assert_eq!(leftovers(&ground).await, []);
}

/// Its layers stay until it is dropped.
pub async fn a_prepared_container_outlives_its_image_and_the_daemon(mut ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let id = container_id("c");
    ground.images().prepare(&id, &image.id).await.unwrap();
    remove(&ground, &image.id.to_string(), RemovalRule::Whole, &[]).await.unwrap();
    for _ in 0..2 {
        drop(ground.images().rootfs(&id, None).await.unwrap());
        assert_eq!(ground.images().config_of(&id).await.unwrap(), image.config);
        ground.restart();
    }
    ground.images().drop_rootfs(&id).await.unwrap();
}
