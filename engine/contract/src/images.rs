//! Contracts of [`Images`].

use crate::objects::{container_id, no_image};
use orlop_model::image::{Credentials, Image, PullRequest, Removed};
use orlop_model::ports::Images;
use orlop_model::{ContainerId, ErrorKind, Failure, ImageId};

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
    let request = PullRequest { reference: reference.to_owned(), credentials: Credentials::Anonymous };
    ground.images().pull(&request).await
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
    assert_eq!(ground.images().remove(&absent).await.unwrap(), Removed::default());
    refused(pull(&ground, &absent).await, ErrorKind::NotFound);
    refused(ground.images().prepare(&container_id("c"), &no_image()).await, ErrorKind::NotFound);
    assert_eq!(ground.images().leftovers().await.unwrap(), []);
}

/// Whichever of them was given.
pub async fn a_removed_image_is_gone_under_every_name(ground: impl ImagesGround) {
    let image = pulled(&ground).await;
    let removed = ground.images().remove(&image.tags[0]).await.unwrap();
    assert_eq!(removed.image.as_ref(), Some(&image.id));
    let digests: Vec<_> = image.digests.iter().map(|name| name.split_once('@').unwrap().1).collect();
    assert_eq!(removed.digests.iter().map(ToString::to_string).collect::<Vec<_>>(), digests);
    for name in image.tags.iter().chain(&image.digests).chain([&image.id.to_string()]) {
        assert_eq!(ground.images().find(name).await.unwrap(), None, "{name}");
        assert_eq!(ground.images().remove(name).await.unwrap(), Removed::default(), "{name}");
    }
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
        drop(ground.images().rootfs(&id).await.unwrap());
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
        refused(ground.images().rootfs(id).await, ErrorKind::NotFound);
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
    ground.images().remove(&image.id.to_string()).await.unwrap();
    for _ in 0..2 {
        drop(ground.images().rootfs(&id).await.unwrap());
        assert_eq!(ground.images().config_of(&id).await.unwrap(), image.config);
        ground.restart();
    }
    ground.images().drop_rootfs(&id).await.unwrap();
}
